/* np: 1 3 */
#include "check.h"
#include "config.h"
#include <stdlib.h>
#include <string.h>

struct params {
#include "config_struct.inc"
#include "test_params.def"
#include "config_undef.inc"
};
#define CONFIG_OWNER struct params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "test_params.def"
#include "config_undef.inc"
};
static const struct config_set set = CONFIG_SET("segment", struct params, rows);

TEST(defaults_are_those_of_the_table) {
  struct params p;
  status_clear();
  CHECK_OK(config_defaults(&set, &p));
  CHECK(p.classes == 3 && p.angle_deg == 90.5 && p.subvoxel, "%lld %g", (long long)p.classes,
        p.angle_deg);
  CHECK(strcmp(p.filter, "ramp") == 0 && strcmp(p.threshold, "otsu") == 0 && !p.frames, "%s",
        p.filter);
}

TEST(an_assignment_says_what_would_be_right) {
  const struct {
    const char *name, *text, *words;
  } cases[] = {
      {"classes",   "99",    "segment.classes = 99 lies outside 2..16"                             },
      {"classes",   "2.5",   "segment.classes = 2.5 would be a whole number"                       },
      {"classes",   "many",  "segment.classes = many is no number"                                 },
      {"angle_deg", "181",   "segment.angle_deg = 181 lies outside 0..180 deg"                     },
      {"angle_deg", "nan",   "segment.angle_deg = nan is no number"                                },
      {"subvoxel",  "maybe", "segment.subvoxel = maybe would be yes or no"                         },
      {"filter",    "han",   "segment.filter = han is none of ramp|hann|cosine; did you mean hann?"},
      {"clases",    "3",     "segment has no parameter 'clases'; did you mean classes?"            },
      {"zzzzzz",    "3",     "segment has no parameter 'zzzzzz'"                                   },
  };
  struct params p;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    status_clear();
    CHECK_OK(config_defaults(&set, &p));
    CHECK(config_assign(&set, &p, cases[i].name, cases[i].text, "") == STATUS_USAGE, "case %zu", i);
    CHECK(strcmp(status_text(), cases[i].words) == 0, "case %zu says '%s'", i, status_text());
    CHECK(p.classes == 3 && p.angle_deg == 90.5, "case %zu changed something", i);
    config_free(&set, &p);
  }
  status_clear();
}

static const char *errors_of(const char *text, struct params *p) {
  struct config_file *file;
  static char words[12000];
  status_clear();
  config_defaults(&set, p);
  enum status status = config_file_parse("cycle.yaml", text, (int64_t)strlen(text), &file);
  if (status == STATUS_OK) {
    config_assign_mapping(file, config_get(config_root(file), "segment"), &set, p);
    status = config_errors_told(file);
    config_file_close(&file);
  }
  snprintf(words, sizeof words, "%s", status == STATUS_OK ? "" : status_text());
  status_clear();
  return words;
}

TEST(a_file_sets_its_parameters) {
  struct params p;
  const char *text =
      "segment:\n  classes: 4   # four\n  threshold: [1.5, 2.5]\n  frames: [a.bin, 'b c.bin']\n"
      "  subvoxel: no\n  filter: &f hann\nother: {name: *f}\n";
  const char *words = errors_of(text, &p);
  CHECK(!*words, "%s", words);
  CHECK(p.classes == 4 && !p.subvoxel && strcmp(p.filter, "hann") == 0, "%lld %s",
        (long long)p.classes, p.filter);
  CHECK(strcmp(p.threshold, "1.5,2.5") == 0, "%s", p.threshold);
  CHECK(p.frames && strcmp(p.frames, "a.bin\nb c.bin") == 0, "%s", p.frames);
  config_free(&set, &p);
}

TEST(all_errors_of_a_file_are_told_at_once_with_place_line_and_hint) {
  struct params p;
  const char *words = errors_of("segment:\n  clases: 4\n  angle_deg: 200\n  filter: {a: 1}\n", &p);
  const char *want  = "cycle.yaml:2:3: segment has no parameter 'clases'; did you mean classes?\n"
                      "      clases: 4\n      ^\n"
                      "cycle.yaml:3:14: segment.angle_deg = 200 lies outside 0..180 deg\n"
                      "      angle_deg: 200\n                 ^\n"
                      "cycle.yaml:4:3: segment.filter: a value is wanted, not a block of keys\n"
                      "      filter: {a: 1}\n      ^";
  CHECK(strcmp(words, want) == 0, "says\n%s", words);
  config_free(&set, &p);
}

TEST(what_is_no_yaml_is_told_with_its_place) {
  struct params p;
  const char *const bad[] = {"segment:\n  classes: [1, 2\n", "a: b: c\n", "\tx: 1\n", "a: \"open\n",
                             "a: *nowhere\n"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const char *words = errors_of(bad[i], &p);
    CHECK(strncmp(words, "cycle.yaml:", 11) == 0, "case %zu says '%s'", i, words);
  }
}

TEST(hostile_files_end_with_a_message) {
  struct params p;
  char *text = NULL;
  CHECK_OK(memory_make(1 << 16, 1, "text", &text));
  strcpy(text, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
  for (int i = 1; i < 10; i++) /* 9^10 values through aliases */
    snprintf(text + strlen(text), 256, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n",
             i, i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
  CHECK(strstr(errors_of(text, &p), "more than 100000 values") != NULL, "aliases: %s",
        errors_of(text, &p));
  memset(text, '[', 5000);
  text[5000] = 0;
  CHECK(*errors_of(text, &p), "5000 open brackets");
  memory_free(text);
  struct config_file *file;
  status_clear();
  CHECK(config_file_parse("zero", "a: b\0c", 6, &file) == STATUS_USAGE && !file, "a zero byte");
  status_clear();
}

TEST(bytes_that_are_no_utf8_are_told_with_their_place) {
  static const char *const good[] = {"a: \xc2\xb5m\n", "a: \xe2\x82\xac \xed\x9f\xbf\n",
                                     "a: \xf4\x8f\xbf\xbf\n",
                                     "\xef\xbb\xbf"
                                     "a: with a mark\n"};
  static const char *const bad[]  = {"a: 1\n# \xff\n",
                                     "a: 1\n# \xc0\x80\n",
                                     "a: 1\n# \xed\xa0\x80\n",
                                     "a: 1\n# \xf4\x90\x80\x80\n",
                                     "a: 1\n# \xe2\x82",
                                     "a: 1\n# \x80\n",
                                     "a: 1\n% \xf9"};
  struct config_file *file;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    status_clear();
    CHECK(config_file_parse("t", good[i], (int64_t)strlen(good[i]), &file) == STATUS_OK,
          "case %zu: %s", i, status_text());
    config_file_close(&file);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    status_clear();
    CHECK(config_file_parse("t", bad[i], (int64_t)strlen(bad[i]), &file) == STATUS_USAGE && !file,
          "case %zu was taken", i);
    CHECK(strncmp(status_text(), "t:2:3: byte 0x", 14) == 0, "case %zu says '%s'", i,
          status_text());
  }
  status_clear();
}

TEST(the_effective_parameters_read_back_to_the_same) {
  struct params p, q;
  status_clear();
  CHECK_OK(config_defaults(&set, &p));
  p.angle_deg = 0.1 + 0.2;
  CHECK_OK(config_assign(&set, &p, "threshold", "1,\"2\"", ""));
  char *yaml;
  CHECK_OK(config_effective_yaml(&set, &p, &yaml));
  const char *words = errors_of(yaml, &q);
  CHECK(!*words, "%s", words);
  CHECK(q.angle_deg == p.angle_deg && strcmp(q.threshold, p.threshold) == 0, "%.17g '%s'",
        q.angle_deg, q.threshold);
  memory_free(yaml);
}

TEST(every_rank_reads_the_same_file) {
  char path[300];
  int rank;
  MPI_Comm_rank(comm, &rank);
  snprintf(path, sizeof path, "%s/a.yaml", check_scratch());
  if (rank == 0) {
    FILE *to = fopen(path, "w");
    fputs("states:\n  - name: pristine\n    percent: 0\n", to);
    fclose(to);
  }
  MPI_Barrier(comm);
  struct config_file *file;
  status_clear();
  CHECK_OK(config_file_open(comm, path, &file));
  const struct config_node *states = config_get(config_root(file), "states"),
                           *first  = config_item(states, 0);
  CHECK(config_count(states) == 1 &&
            strcmp(config_scalar(config_get(first, "name")), "pristine") == 0,
        "content");
  char place[400], want[400];
  snprintf(want, sizeof want, "%s:3:5", path);
  CHECK(strcmp(config_place(first, 1, place, sizeof place), want) == 0, "%s", place);
  config_file_close(&file);
  CHECK(config_file_open(comm, "no/such.yaml", &file) == STATUS_INPUT && !file, "no file");
  status_clear();
}
