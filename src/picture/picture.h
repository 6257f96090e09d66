#pragma once
#include "grid.h"
