/* Private to base. */
#pragma once
#include "base.h"

/* This process in the program's communicator; 0 without one. */
int base_program_rank(void);
/* MPI_Abort on it, or exit. */
_Noreturn void base_program_abort(enum status code);

/* Around the reduction of an agreement at `site` (a string that lives for ever). */
void watch_agree_begin(const char *site);
void watch_agree_end(void);
