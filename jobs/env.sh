# Sourced by the batch scripts: where the program is, how it is launched, what happens at the time limit.
# Set before submitting, or in the site's file:
#   XCSCT         the program (default: build/xcsct of this checkout, else the one in PATH)
#   XCSCT_SITE    a file of jobs/sites (default: generic)
#   XCSCT_LAUNCH  what starts the ranks (default: srun --mpi=pmix)
# SLURM copies a batch script elsewhere, so the jobs folder comes from the submission: XCSCT_JOBS.
asked= # the signal can come before the program is there
trap 'asked=yes' USR1 TERM
: "${XCSCT_JOBS:?say where the folder jobs is: sbatch --export=ALL,XCSCT_JOBS=/path/to/jobs ...}"
site=$XCSCT_JOBS/sites/${XCSCT_SITE:-generic}.env
[ -r "$site" ] || { echo "there is no $site" >&2; exit 2; }
. "$site"
if [ -z "${XCSCT:-}" ]; then
  XCSCT=$XCSCT_JOBS/../build/xcsct
  [ -x "$XCSCT" ] || XCSCT=$(command -v xcsct) || { echo "xcsct is not to be found; set XCSCT" >&2; exit 2; }
fi
XCSCT_LAUNCH=${XCSCT_LAUNCH:-srun --mpi=pmix}

# xcsct_job STOPFILE WORDS...: the program with these words. USR1 or TERM to this script (SLURM sends USR1
# some time before the limit) makes STOPFILE, which every launcher understands; the program then ends after
# its round with 75, and the job is put into the queue again. At most XCSCT_REQUEUES times (default 20).
xcsct_job() {
  local stop=$1 code
  shift
  if grep -qs '^job ' "$stop"; then rm -f "$stop"; fi
  trap 'echo "asked to stop: $stop"; mkdir -p "$(dirname "$stop")" && echo "job ${SLURM_JOB_ID:-}" >"$stop"' USR1 TERM
  code=75
  if [ -z "$asked" ]; then
    $XCSCT_LAUNCH "$XCSCT" "$@" &
    local job=$!
    while :; do # a caught signal ends wait early
      code=0
      wait "$job" || code=$?
      kill -0 "$job" 2>/dev/null || break
    done
  fi
  trap - USR1 TERM
  if [ "$code" = 75 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "${XCSCT_REQUEUES:-20}" ]; then
    local id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
    echo "stopped early: queued again"
    scontrol requeue "${id:-$SLURM_JOB_ID}"
    sleep 30 # the requeue ends this script
  fi
  return "$code"
}
