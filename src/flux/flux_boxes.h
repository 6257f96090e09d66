/* Private to the boxes: their scan, which percolation and the first graph both begin with. */
#pragma once
#include "flux_lattice.h"

enum { KIND_SEVERAL = 255 };
struct flux_scan {
  struct flux_fine *fine;
  uint8_t *pattern, *several; /* per box: conducting voxels, number of components */
  uint8_t *kind; /* per box: code of all its voxels; 0 none, or KIND_SEVERAL. NULL with one kind */
  int64_t nodes, multis;
  int64_t names;         /* of nodes in percolation: their box's place, or beyond all boxes */
  int32_t *parent;       /* of names */
  uint8_t *touch;        /* per name: 1 low face, 2 high face */
  bool one_kind;         /* of conductors */
  bool plain;            /* every open face inside a box joins */
  bool strong[3];        /* axes whose faces join */
  int64_t corner[BOX];   /* offsets of a box's voxels */
  int order[FLUX_CODES]; /* of each code's diffusivity */
};
static inline int64_t box_at(const struct flux_fine *f, int64_t k, int64_t j, int64_t i) {
  return k * f->view.box_plane + j * f->view.box_row + i;
}
static inline int64_t voxel_at(const struct flux_fine *f, int64_t k, int64_t j, int64_t i) {
  return f->view.origin + k * f->view.plane + j * f->view.row + i;
}
static inline int64_t voxel_of_box(const struct flux_fine *f, int64_t k, int64_t j, int64_t i,
                                   int t) {
  return voxel_at(f, 2 * k + (t >> 2), 2 * j + (t >> 1 & 1), 2 * i + (t & 1));
}

static const uint8_t bits_of[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
static inline bool face_apart(int a, int b) { return (a ^ b) == 1 || (a ^ b) == 2 || (a ^ b) == 4; }
static inline int axis_of(int apart) { return apart == 4 ? 0 : apart == 2 ? 1 : 2; }
/* Bits of the faces that two boxes, the second after the first along an axis, have in common. */
static inline unsigned common(unsigned p, unsigned q, int axis) {
  static const unsigned low[3] = {0x0f, 0x33, 0x55};
  return (p >> (4 >> axis)) & q & low[axis];
}
/* Place of voxel (u, w) of a side's inner layer. */
static inline void side_place(const struct flux_fine *f, int s, int64_t u, int64_t w,
                              int64_t at[3]) {
  const int a        = s / 2;
  at[a]              = s % 2 ? f->view.n[a] - 1 : 0;
  at[a == 0 ? 1 : 0] = u;
  at[a == 2 ? 1 : 2] = w;
}

/* Local. Room for a scan of `fine`; which codes and axes join. */
enum status flux_scan_make(struct flux_scan *scan, struct flux_fine *fine);
void flux_scan_free(struct flux_scan *scan);
/* Local. Patterns, components and counts of voxels by code; names of nodes. */
enum status flux_scan_all(struct flux_scan *scan, int64_t count[FLUX_CODES]);
/* Some voxels of a box, all but those of the pattern, have been blocked. */
void flux_scan_change(struct flux_scan *scan, int64_t k, int64_t j, int64_t i, uint8_t pattern);
/* Local. Numbers nodes: by names, or colour by colour when next[] is given; boxes of one node by the lattice (may be NULL). */
enum status flux_scan_number(struct flux_scan *scan, int next[COLOURS],
                             const struct flux_lattice *lattice);
/* Local. Adds the outer layers that are fixed: all their voxels, or those before a voxel that conducts. */
void flux_layers_count(const struct flux_fine *fine, bool open, int64_t count[FLUX_CODES]);

/* flux_percolate.c */
/* Collective. Scans; blocks what carries no flux: through and electrode, bodies that do not touch the faces. The answer's
 * percolating voxels are then this rank's own. */
enum status flux_percolate(MPI_Comm comm, const struct flux_case *problem, struct flux_scan *scan,
                           struct flux_answer *answer);
