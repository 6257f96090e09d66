#include "app.h"
#include <mpi.h>
#include <string.h>

void app_print_version(FILE *to) {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length                               = 0;
  MPI_Get_library_version(mpi, &length);
  mpi[strcspn(mpi, ",\n")] = 0;
  fprintf(to, "xcsct %s (revision %s)\n", stage_version(), stage_revision());
  fprintf(
      to,
      "%s, HDF5 %s, FFTW %s, PETSc %s, xraylib %s, libfyaml %s, GSL %s, libtiff %s, libpng %s\n",
      mpi, XCSCT_HDF5_VERSION, XCSCT_FFTW_VERSION, XCSCT_PETSC_VERSION, XCSCT_XRL_VERSION,
      XCSCT_FYAML_VERSION, XCSCT_GSL_VERSION, XCSCT_TIFF_VERSION, XCSCT_PNG_VERSION);
  fprintf(to, "instruction set: %s\n", isa_name(isa_now()));
}

void app_print_commands(FILE *to) {
  fprintf(to, "usage: xcsct COMMAND [OPTION VALUE ...]; xcsct help COMMAND lists its options\n\n");
  int stages, commands;
  const struct stage *const *stage       = campaign_stages(&stages);
  const struct campaign_command *command = campaign_commands(&commands);
  for (int i = 0; i < stages; i++) fprintf(to, "  %-10s %s\n", stage[i]->name, stage[i]->words);
  for (int i = 0; i < commands; i++) fprintf(to, "  %-10s %s\n", command[i].name, command[i].words);
  fprintf(to, "  %-10s %s\n", "info", "what is in a file");
  fprintf(to, "  %-10s %s\n", "help", "this list, or a command's options");
}

void app_print_help(const char *name, const char *words, const char *operand,
                    const struct config_set *set, FILE *to) {
  fprintf(to, "xcsct %s%s%s [OPTION VALUE ...]: %s\n\n", name, *operand ? " " : "", operand, words);
  config_print_help(set, to);
  fprintf(to, "\nOptions of every command:\n");
  config_print_help(&stage_common_set, to);
}

enum status app_info(MPI_Comm comm, const char *file) {
  static const char *const notes[] = {"program", "version",         "revision",
                                      "ranks",   "instruction_set", "effective_yaml"};
  char *lines                      = NULL;
  TRY(store_list(comm, file, &lines));
  if (log_is_speaker()) fputs(lines, stdout);
  memory_free(lines);
  for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
    char path[128], text[8192];
    bool found;
    snprintf(path, sizeof path, "/entry/process/%s", notes[i]);
    TRY(store_get_text(comm, file, path, &found, text, sizeof text));
    if (found && log_is_speaker())
      printf("%s: %s%s\n", notes[i], strchr(text, '\n') ? "\n" : "", text);
  }
  return STATUS_OK;
}
