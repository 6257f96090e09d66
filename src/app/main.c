/* The program: one command per call, the same exit code on every rank. */
#include "app.h"
#include <math.h>
#include <string.h>

static enum status write_json(const struct app_call *call, const char *command,
                              const struct stage_results *results) {
  if (!call->common.json[0] || !log_is_speaker()) return STATUS_OK;
  char *json;
  TRY(stage_results_json(command, results, &json));
  enum status status = STATUS_OK;
  if (strcmp(call->common.json, "-") == 0)
    fputs(json, stdout);
  else
    status = store_text_write(call->common.json, json, (int64_t)strlen(json));
  memory_free(json);
  return status;
}

/* The table and the JSON; also when a tolerance was not reached. */
static enum status tell(MPI_Comm comm, const struct app_call *call, const char *command,
                        const struct stage_results *results, enum status done) {
  if (done != STATUS_OK && done != STATUS_NOT_CONVERGED) return done;
  bool apart = strcmp(call->common.json, "-") == 0;
  if (log_is_speaker() && !(call->common.quiet && apart))
    stage_results_print(command, results, apart ? stderr : stdout);
  enum status told = AGREE(comm, write_json(call, command, results));
  return done != STATUS_OK ? done : told;
}

static enum status begin_call(MPI_Comm comm, const struct app_call *call) {
  log_open(comm, call->common.quiet);
  stop_watch(NULL, call->common.max_time);
  watch_begin(call->common.watchdog);
  return isa_agree(comm, call->common.isa);
}

enum mode { MODE_RUN, MODE_PLAN, MODE_CHECK };

static enum status say_need(const struct stage_job *job, const struct stage *stage,
                            enum mode mode) {
  struct stage_need need = {0, 0, 0, 0};
  if (!stage->plan) return STATUS_OK;
  TRY(stage->plan(job, &need));
  if (mode == MODE_PLAN) {
    stage_result_add(job->results, "memory_per_rank", 1e-9 * (double)need.memory_bytes, "GB");
    stage_result_add(job->results, "disk", 1e-9 * (double)need.disk_bytes, "GB");
    stage_result_add(job->results, "rounds", (double)need.rounds, "");
    if (need.seconds > 0) stage_result_add(job->results, "time", need.seconds, "s");
    return STATUS_OK;
  }
  return stage_need_check(job, &need);
}

static enum status call_stage(MPI_Comm comm, const struct stage *stage, enum mode mode,
                              struct app_call *call, struct stage_results *results) {
  TRY(begin_call(comm, call));
  if (stage->check) TRY_ALL(comm, stage->check(call->params, &call->common));
  char *record         = NULL;
  const char *inputs[] = {call->common.input};
  TRY(stage_record_make(comm, call->set, call->params, inputs, 1, NULL, &record));
  const struct stage_bundle bundle = {.input = call->common.input};
  const struct stage_job job = {comm,   &call->common, call->params, &bundle, call->common.output,
                                record, results};
  double begun_s             = time_now_s();
  enum status status         = say_need(&job, stage, mode);
  /* a stage without products looks after its output itself: the twin makes a folder */
  if (status == STATUS_OK && mode == MODE_RUN && job.output[0] && stage->writes[0]) {
    const struct store_options options = {.force = call->common.force};
    status                             = store_output_check(comm, job.output, &options);
  }
  if (status == STATUS_OK && mode == MODE_RUN) {
    status = stage->run(&job);
    log_info("%s: %.2f s, peak memory %.3f GB per rank", stage->name, time_now_s() - begun_s,
             1e-9 * (double)memory_rss_peak_bytes());
  }
  memory_free(record);
  if (status == STATUS_INPUT) status_about(call->common.input);
  return tell(comm, call, stage->name, results, status);
}

static enum status stage_command(MPI_Comm comm, const struct stage *stage, enum mode mode, int argc,
                                 char **argv) {
  struct app_call call;
  struct stage_results results = {NULL, 0, 0};
  enum status status           = app_call_parse(comm, stage->params, false, argc, argv, &call);
  if (status == STATUS_OK && call.help) {
    if (log_is_speaker()) app_print_help(stage->name, stage->words, "", stage->params, stdout);
  } else if (status == STATUS_OK)
    status = call_stage(comm, stage, mode, &call, &results);
  stage_results_free(&results);
  app_call_free(&call);
  return status;
}

static enum status campaign_call(MPI_Comm comm, const struct campaign_command *command, int argc,
                                 char **argv) {
  struct app_call call;
  struct stage_results results = {NULL, 0, 0};
  bool operand                 = command->operand[0] != 0;
  enum status status           = app_call_parse(comm, command->params, operand, argc, argv, &call);
  if (status == STATUS_OK && call.help) {
    if (log_is_speaker())
      app_print_help(command->name, command->words, command->operand, command->params, stdout);
  } else if (status == STATUS_OK) {
    status = begin_call(comm, &call);
    if (status == STATUS_OK)
      status = command->run(comm, &call.common, call.params, call.operand, &results);
    status = tell(comm, &call, command->name, &results, status);
  }
  stage_results_free(&results);
  app_call_free(&call);
  return status;
}

static const struct campaign_command *command_find(const char *name) {
  int n;
  const struct campaign_command *list = campaign_commands(&n);
  for (int i = 0; i < n; i++)
    if (strcmp(list[i].name, name) == 0) return &list[i];
  return NULL;
}

static enum status unknown_command(const char *name) {
  const char *known[64]                  = {"info", "help"};
  int n                                  = 2, stages, commands;
  const struct stage *const *stage       = campaign_stages(&stages);
  const struct campaign_command *command = campaign_commands(&commands);
  for (int i = 0; i < stages && n < 64; i++) known[n++] = stage[i]->name;
  for (int i = 0; i < commands && n < 64; i++) known[n++] = command[i].name;
  const char *nearest = config_nearest(name, known, n);
  return FAIL(STATUS_USAGE, "there is no command '%s'%s%s%s; xcsct help lists them", name,
              nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static enum status help(MPI_Comm comm, int argc, char **argv) {
  const struct stage *stage              = argc ? campaign_stage_find(argv[0]) : NULL;
  const struct campaign_command *command = argc ? command_find(argv[0]) : NULL;
  if (argc && !stage && !command) return AGREE(comm, unknown_command(argv[0]));
  if (!log_is_speaker()) return STATUS_OK;
  if (stage)
    app_print_help(stage->name, stage->words, "", stage->params, stdout);
  else if (command)
    app_print_help(command->name, command->words, command->operand, command->params, stdout);
  else
    app_print_commands(stdout);
  return STATUS_OK;
}

static enum status dispatch(MPI_Comm comm, int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "";
  if (!*name) {
    if (log_is_speaker()) app_print_commands(stderr);
    return AGREE(comm, FAIL(STATUS_USAGE, "a command is missing"));
  }
  if (strcmp(name, "--version") == 0) {
    if (log_is_speaker()) app_print_version(stdout);
    return STATUS_OK;
  }
  if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
    return help(comm, argc - 2, argv + 2);
  if (strcmp(name, "info") == 0) {
    if (argc == 3) return app_info(comm, argv[2]);
    return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct info FILE"));
  }
  const struct stage *stage = campaign_stage_find(name);
  if (stage) return stage_command(comm, stage, MODE_RUN, argc - 2, argv + 2);
  bool plan = strcmp(name, "plan") == 0, check = strcmp(name, "check") == 0;
  stage = (plan || check) && argc > 2 ? campaign_stage_find(argv[2]) : NULL;
  if (stage) return stage_command(comm, stage, plan ? MODE_PLAN : MODE_CHECK, argc - 3, argv + 3);
  const struct campaign_command *command = command_find(name);
  if (command) return campaign_call(comm, command, argc - 2, argv + 2);
  return AGREE(comm, unknown_command(name));
}

int main(int argc, char **argv) {
  store_environment_set();
  MPI_Init(&argc, &argv);
  MPI_Comm comm = MPI_COMM_WORLD;
  status_program_set(comm);
  stage_program_set(comm);
  log_open(comm, false);
  enum status status = dispatch(comm, argc, argv);
  if (status != STATUS_OK && log_is_speaker())
    fprintf(stderr, "xcsct: %s: %s\n", status == STATUS_STOPPED ? "stopped" : "error",
            status_text());
  store_shelf_clear();
  watch_begin(0);
  MPI_Finalize();
  return status_exit_code(status);
}
