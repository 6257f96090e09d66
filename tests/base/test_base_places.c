/* np: 2
 * Ranks that agree at one place pass the debug mode; with PLACES_APART in the environment one of them agrees
 * elsewhere, which ends the job: test_app_watchdog.py looks at how. */
#include "check.h"
#include <stdlib.h>

TEST(one_place_is_well_also_when_places_are_compared) {
  setenv("XCSCT_DEBUG_AGREE", "1", 0);
  int rank;
  MPI_Comm_rank(comm, &rank);
  status_clear();
  CHECK_OK(AGREE(comm, STATUS_OK));
  enum status status = STATUS_OK;
  if (getenv("PLACES_APART") && rank == 0)
    status = AGREE(comm, STATUS_OK);
  else
    status = AGREE(comm, STATUS_OK);
  CHECK(status == STATUS_OK, "%s", status_text());
}
