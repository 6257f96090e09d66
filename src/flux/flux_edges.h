/* Private to the first graph: its edges, box by box. */
#pragma once
#include "flux_boxes.h"

/* Edges out of the nodes of one box, before they go into rows. */
struct edge {
  int32_t from, to;
  double weight;
  int side; /* -1: of no one of its own */
};
struct edges {
  struct flux_scan *scan;
  struct flux_graph *graph;
  int n;
  bool sided;      /* at most one edge per side, which has its place in the row */
  double face[3];  /* weight of a face across each axis, with one kind of conductors */
  uint8_t *split;  /* per row of boxes, with one kind: some come apart */
  uint8_t *shared; /* of a row */
  struct edge edge[96];
  int64_t nodes; /* of all ranks */
  int links;     /* of the lattice's rows, counted or written */
};

/* flux_boxes_graph.c */
/* Adds the edges over side s of a box, voxel by voxel. */
void flux_edges_slow(struct edges *e, const int64_t box[3], int s);
/* Over side s of box b, whose first voxel is `at`, to box c of this rank: one edge between boxes of one component each. */
void flux_edges_across(struct edges *e, int64_t b, int64_t c, int64_t at, int s);
/* All of a box, in place of those that were there. */
void flux_edges_of_box(struct edges *e, const int64_t box[3]);
/* Into rows and links, or, before there are rows, into their lengths. */
void flux_edges_put(struct edges *e, uint16_t *length);

/* flux_boxes_lattice.c */
bool flux_lattice_fits(const struct flux_scan *scan, int64_t nodes);
/* Local. Rows, faces and links of a lattice that was made; nodes are numbered. */
enum status flux_lattice_edges(struct edges *e, uint16_t *length);
