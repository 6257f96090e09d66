/* The product table, from product.def. */
#include "store.h"
#include <string.h>

static const struct store_product products[] = {
#define PRODUCT(name, type, rank, axes, unit, meaning)                                             \
  {#name, GRID_##type, rank, axes, unit, meaning},
#include "product.def"
#undef PRODUCT
};

const struct store_product *store_product_list(int *n) {
  *n = (int)(sizeof products / sizeof *products);
  return products;
}

const struct store_product *store_product_find(const char *name) {
  for (size_t i = 0; i < sizeof products / sizeof *products; i++)
    if (strcmp(products[i].name, name) == 0) return &products[i];
  return NULL;
}
