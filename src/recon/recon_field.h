/* Private: a detector that does not see the whole object. */
#pragma once
#include "recon.h"

/* The detector that a scan stands for: its own, or, for a full turn about an axis near an edge, one as wide as
 * both halves together. */
struct recon_field {
  int64_t detector, columns; /* of the scan; of the wider detector and of the slices */
  int64_t shift;             /* column of the wider detector on which column 0 falls */
  double centre_px;          /* the axis on the wider detector */
  double overlap_px; /* seen from both sides of the axis: its half width; 0 = not extended */
};
/* Local. USAGE when fewer than 2 columns lie beyond the axis. */
enum status recon_field_make(int64_t detector, double centre_px, bool extended,
                             struct recon_field *field);
/* Local. Lines [lines][detector] onto [lines][columns], weighted so that the two projections of a ray sum up to
 * twice its integral everywhere. */
void recon_field_embed(const struct recon_field *field, const float *from, int64_t lines,
                       float *to);

/* Local. In place: sinograms [rows][angles][columns] go on beyond both edges, as far as the object does, and are
 * filtered with geometry->filter; what is reconstructed from them takes filter "none". "circle": like a disc of
 * radius_px about the axis, or, with 0, of the radius found in each row; "taper": a cosine over half the detector. */
enum status recon_field_filter(const struct recon_geometry *geometry, const char *how,
                               double radius_px, float *sinogram, int64_t rows);
int64_t recon_field_filter_bytes(const struct recon_geometry *geometry, const char *how,
                                 double radius_px);
/* Local. The radius of the disc whose projection the mean one [angles][columns] is most like towards the edges, at
 * least the detector's reach and at most four times that. */
double recon_field_radius(const struct recon_geometry *geometry, const float *sinogram);
