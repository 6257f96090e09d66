/* Inside raw. */
#pragma once
#include "raw_hits.h"

/* Local. What the head of a file of hits says: frames and words of `file`, n = rows, columns. */
enum status raw_hits_look(const char *name, int64_t bytes, struct raw_frames_file *file,
                          int64_t n[2]);
