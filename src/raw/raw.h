/* raw: the one header to include; its parts: */
#pragma once
#include "raw_tomo.h"
#include "raw_frames.h"
#include "raw_hits.h"
