/* voxel: the one header to include; its parts: */
#pragma once
#include "voxel_filter.h"
#include "voxel_mask.h"
#include "voxel_components.h"
#include "voxel_threshold.h"
#include "voxel_transform.h"
#include "voxel_isosurface.h"
