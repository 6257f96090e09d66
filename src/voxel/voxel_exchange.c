#include "voxel_exchange.h"
#include <limits.h>
#include <string.h>

struct letter {
  int rank;
  struct grid_box box;
  char *bytes;
};
struct post {
  struct letter *letter; /* those to come, then those to send */
  int in, out;
  MPI_Request *request;
};

enum { EXCHANGE_TAG = 4712 };

static struct grid_box overlap_grown(const struct grid_box *grown, int64_t reach,
                                     const struct grid_box *other) {
  struct grid_box larger = *grown;
  if (grid_box_voxels(grown) == 0) larger.n[0] = -2 * reach; /* stays empty */
  for (int a = 0; a < 3; a++) larger.start[a] -= reach, larger.n[a] += 2 * reach;
  return grid_box_overlap(&larger, other);
}

static enum status letter_add(const struct voxel_exchange *x, int rank, const struct grid_box *box,
                              struct letter *letter) {
  int64_t voxels = grid_box_voxels(box);
  *letter        = (struct letter){.rank = rank, .box = *box};
  if (voxels * (int64_t)x->bytes > INT_MAX)
    return FAIL(STATUS_INTERNAL, "a message of %lld voxels between ranks; use more ranks",
                (long long)voxels);
  return memory_make_raw(voxels, x->bytes, "messages around boxes", &letter->bytes);
}

static enum status prepare(const struct voxel_exchange *x, struct post *post) {
  struct grid_box mine = grid_plan_mine(x->plan);
  TRY(memory_make(2 * (int64_t)x->plan->size, sizeof *post->letter, "messages", &post->letter));
  TRY(memory_make(2 * (int64_t)x->plan->size, sizeof(MPI_Request), "messages", &post->request));
  for (int out = 0; out < 2; out++)
    for (int rank = 0; rank < x->plan->size; rank++) {
      struct grid_box other = grid_plan_box(x->plan, rank);
      struct grid_box both =
          out ? overlap_grown(&other, x->reach, &mine) : overlap_grown(&mine, x->reach, &other);
      bool upward = out ? x->plan->rank < rank : rank < x->plan->rank;
      if (rank == x->plan->rank || grid_box_voxels(&both) == 0 || (x->only_upward && !upward))
        continue;
      TRY(letter_add(x, rank, &both, &post->letter[post->in + post->out]));
      *(out ? &post->out : &post->in) += 1;
    }
  return STATUS_OK;
}

static void post_all(MPI_Comm comm, const struct voxel_exchange *x, struct post *post) {
  for (int i = 0; i < post->in + post->out; i++) {
    const struct letter *l = &post->letter[i];
    int bytes              = (int)(grid_box_voxels(&l->box) * (int64_t)x->bytes);
    if (i < post->in) {
      MPI_Irecv(l->bytes, bytes, MPI_BYTE, l->rank, EXCHANGE_TAG, comm, &post->request[i]);
      continue;
    }
    x->pack(x->owner, &l->box, l->bytes);
    MPI_Isend(l->bytes, bytes, MPI_BYTE, l->rank, EXCHANGE_TAG, comm, &post->request[i]);
  }
  MPI_Waitall(post->in + post->out, post->request, MPI_STATUSES_IGNORE);
}

static enum status take_all(const struct voxel_exchange *x, const struct post *post) {
  for (int i = 0; i < post->in; i++)
    TRY(x->take(x->owner, &post->letter[i].box, post->letter[i].bytes));
  return STATUS_OK;
}

enum status voxel_exchange_run(MPI_Comm comm, const struct voxel_exchange *x) {
  struct post post   = {NULL, 0, 0, NULL};
  enum status status = AGREE(comm, prepare(x, &post));
  if (status == STATUS_OK) {
    post_all(comm, x, &post);
    status = AGREE(comm, take_all(x, &post));
  }
  for (int i = 0; post.letter && i < 2 * x->plan->size; i++) memory_free(post.letter[i].bytes);
  memory_free(post.letter);
  memory_free(post.request);
  return status;
}
