/* numeric: the one header to include; its parts: */
#pragma once
#include "numeric_random.h"
#include "numeric_xray.h"
#include "numeric_fft.h"
#include "numeric_leastsq.h"
#include "numeric_plane.h"
