#pragma once

#include <cstddef>
#include <cstdint>

#include "anchor/kernels/params.hpp"

struct CUstream_st;

// The work list of a plan: which query tile a block takes next, and where its lists end.
namespace anchor::kernels {

constexpr int kTileRows = 128;  ///< query rows of one tile

/// Keys of a tile: the blocks from the last to the first, then the columns.
struct TileKeys {
  std::int64_t block_end = 0;  ///< the blocks are blocks[block_end - count, block_end)
  std::int64_t column_begin = 0;
  std::int32_t block_keys = 0;  ///< number of blocks times kv_tile
  std::int32_t columns = 0;
};

/// Up to kTileRows consecutive query rows of one plan row. Lists end before the first entry that no row of
/// the tile may see.
struct alignas(16) Tile : TileKeys {
  /// What else belongs to the tile depends on what is computed (sm90: Mode).
  union {
    std::int64_t dup_begin = 0;  ///< attention: the duplicates are dup[dup_begin, dup_begin + trailing)
    std::int64_t means_row;      ///< corrected: its row of MeanKeys::unlisted
    std::int64_t pooled_row;     ///< region: where its mean query goes (PooledRow::index)
  };
  std::int32_t head = 0;
  std::int32_t row = 0;       ///< first query row
  std::int32_t rows = 0;      ///< 0 = no more work
  std::int32_t trailing = 0;  ///< duplicates or means that follow the listed keys; lse does not see them
};
static_assert(sizeof(Tile) == 48);

/// Means of blocks that follow a tile's listed keys: the means of the blocks that lie wholly before the tile,
/// each of which counts as many keys as the tile's plan row does not list.
struct MeanKeys {
  int block = 0;                     ///< keys of one; 0 = none join
  std::int64_t count = 0;            ///< of one KV head, a multiple of 128
  void *k = nullptr, *v = nullptr;   ///< [kv_heads, count, head_dim], zeros past the last block
  std::uint8_t* unlisted = nullptr;  ///< [plan rows, count]: keys of the block that the row does not list
};

/// The scratch of one launch: a ticket counter, the tiles in launch order, a stop tile.
struct Schedule {
  Schedule(const Shape& shape, const PlanParams& plan, void* workspace,
           std::size_t tile_bytes = sizeof(Tile));

  std::int64_t tiles = 0;
  std::int32_t tiles_per_head = 0, tiles_per_group = 0;
  std::int64_t rows = 0;     ///< plan rows
  std::int32_t leading = 0;  ///< so many columns at the front of every list are left out
  MeanKeys means;            ///< follow the listed keys in place of duplicates, if there are any
  int segments = 0;  ///< KV heads run one after the other where K and V exceed the cache; else all at once
  unsigned kv_tile_reciprocal = 0;  ///< ceil(2^31 / kv_tile)
  unsigned* ticket = nullptr;       ///< the next tile to take, and the number of tiles
  Tile* tile = nullptr;             ///< [tiles + 1]
  std::int32_t* place = nullptr;    ///< [rows]: first tile of each plan row
  std::size_t bytes = 0;
};

std::size_t schedule_bytes(const Shape& shape, const PlanParams& plan);

/// Fills a schedule: within a segment the longest plan rows come first, the tiles of a plan row side by side.
/// Plan rows with empty lists have no tiles if `skip_empty`.
void run_schedule(const Shape& shape, const PlanParams& plan, const Schedule& schedule, bool skip_empty,
                  CUstream_st* stream);

}  // namespace anchor::kernels
