#!/bin/sh
# Says of a job what Snakemake wants to hear: running, success or failed (or deleted).
state=$(kubectl get "$1" --ignore-not-found -o jsonpath='exists {.status.conditions[?(@.status=="True")].type}') \
    || { echo running; exit; }  # no answer: asked again later
case $state in
    *Complete*) echo success ;;
    *Failed* | "") echo failed ;;
    *) echo running ;;
esac
