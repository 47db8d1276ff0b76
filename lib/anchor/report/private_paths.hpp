#pragma once

#include "anchor/rows/result_row.hpp"

namespace anchor {

/// Makes a page's data fit to be mailed: absolute paths in its strings become names (with as many folders as
/// tell files of one name apart), and the names of machines and users among the environments go. What stands
/// in a dump's own text (the tokens of stripes) is left alone.
void hide_places(Json& data);

}  // namespace anchor
