#pragma once
#include "stage.h"
