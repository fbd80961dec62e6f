#!/bin/sh
# Says of a job what Snakemake wants to hear: running, success or failed.
set -eu
case $(kubectl get "$1" -o jsonpath='{.status.conditions[?(@.status=="True")].type}') in
    *Complete*) echo success ;;
    *Failed*) echo failed ;;
    *) echo running ;;
esac
