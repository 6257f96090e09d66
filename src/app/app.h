/* app: the command line. One binary, one command per call. */
#pragma once
#include "campaign.h"

/* What a command line says, after files and options were read. */
struct app_call {
  struct stage_common common;
  const struct config_set *set; /* of the command */
  void *params;                 /* owned */
  char operand[STORE_NAME_BYTES];
  bool help;
};
/* Collective. argv[0] is the first word after the command. Options over the --config file's block named
 * after the command over defaults. takes_operand: one word without -- is allowed. USAGE with the nearest
 * known option. */
enum status app_call_parse(MPI_Comm comm, const struct config_set *set, bool takes_operand,
                           int argc, char **argv, struct app_call *call);
void app_call_free(struct app_call *call);

/* Rank 0 prints; local. */
void app_print_commands(FILE *to);
void app_print_help(const char *name, const char *words, const char *operand,
                    const struct config_set *set, FILE *to);
void app_print_version(FILE *to);
/* Collective. What is in a file: datasets with shapes, provenance and results. */
enum status app_info(MPI_Comm comm, const char *file);
