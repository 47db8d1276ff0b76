#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "anchor/model/regex.hpp"

namespace anchor {

/// A token that is looked for in the text itself, before it is cut into pieces.
struct AddedToken {
  std::string text;
  int id = 0;
  bool lstrip = false, rstrip = false;  ///< takes the white space before, or after, with it
  bool single_word = false;             ///< not within a word
};

/// Finds added tokens in a text: at each place the longest one, from left to right.
class AddedTokens {
 public:
  void add(AddedToken token);
  bool empty() const { return count_ == 0; }

  /// A stretch of the text: an added token, or (id -1) what lies between.
  struct Part {
    std::string_view text;
    int id;
  };
  std::vector<Part> split(std::string_view text) const;
  /// The text of every token, by id.
  void texts(std::vector<std::string>& by_id) const;

 private:
  const AddedToken* at(std::string_view text, std::size_t place) const;

  std::array<std::vector<AddedToken>, 256> by_first_;  ///< longest first
  std::size_t count_ = 0;
};

}  // namespace anchor
