#pragma once

#include "common/schedule/schedule.hpp"

// Plan rows shorter than a tile, computed together. Either `heads` query heads with equal lists lie above
// each other in a tile, or two consecutive plan rows of a head, 64 rows each: the keys that both list are
// gathered once for the whole tile, the others for one warpgroup.
namespace anchor::kernels {

/// Rows [row, row + rows) of each of the heads from `head` on, which `plan.q_tile` tile rows belong to.
struct JoinedTile : TileKeys {  // of all rows
  TileKeys own[2];              ///< further keys of the first and of the last 64 rows alone
  std::int32_t head = 0;
  std::int32_t row = 0;
  std::int32_t rows = 0;  ///< 0 = no more work
};

/// Can plan rows share tiles?
bool can_join(const Shape& shape, const PlanParams& plan);

/// The scratch of one launch.
struct Join {
  Join(const Shape& shape, const PlanParams& plan, void* workspace);

  int rows, heads;    ///< of the plan, in a tile; one of them is 1
  Shape shape;        ///< with a head for each pack
  PlanParams plan;    ///< q_tile: rows of a head in a tile; lists: those that tiles refer to
  Schedule schedule;  ///< of JoinedTiles
  std::int32_t *blocks = nullptr, *columns = nullptr;  ///< where they are made, if rows > 1
  std::size_t bytes = 0;
};

/// Makes tiles and their lists from those of `plan`.
void run_join(const PlanParams& plan, const Join& join, CUstream_st* stream);

}  // namespace anchor::kernels
