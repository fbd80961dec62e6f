#!/bin/sh
# Starts a job that runs one of Snakemake's scripts, and prints its name: job.sh MEGABYTES MINUTES SCRIPT
set -eu
kubectl create -o name -f - <<JOB
apiVersion: batch/v1
kind: Job
metadata: {generateName: cell-}
spec:
  backoffLimit: 0  # Snakemake tries again
  ttlSecondsAfterFinished: 86400
  template:
    spec:
      activeDeadlineSeconds: $(($2 * 60))  # from when it has a node
      restartPolicy: Never
      containers:
        - name: cell
          image: docker.io/library/python:3.11
          command: [sh, "$(realpath "$3")"]
          workingDir: "$PWD"
          env: [{name: DATA_DIR, value: "${DATA_DIR:-}"}]
          resources:  # for a GPU: limits: {nvidia.com/gpu: 1}
            requests: {cpu: 1, memory: ${1}M}
          volumeMounts: [{name: course, mountPath: /course}]
      volumes: [{name: course, persistentVolumeClaim: {claimName: course}}]
JOB
