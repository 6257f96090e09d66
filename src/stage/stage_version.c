#include "revision.h"
#include "stage.h"

const char *stage_version(void) { return XCSCT_VERSION; }
const char *stage_revision(void) { return XCSCT_REVISION; }
