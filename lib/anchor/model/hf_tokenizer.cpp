#include <algorithm>
#include <nlohmann/json.hpp>

#include "anchor/base/error.hpp"
#include "anchor/model/byte_alphabet.hpp"
#include "anchor/model/hf_folder.hpp"
#include "anchor/model/tokenizer.hpp"

namespace anchor {
namespace {

using Json = nlohmann::json;

/// Reads tokenizer.json, the tokenizers library's own format; what it does not know is refused by name.
class Reader {
 public:
  explicit Reader(const HfFolder& folder)
      : path_(folder.path() + "/tokenizer.json"), json_(folder.read_json("tokenizer.json")) {}

  TokenizerParts read() {
    const Json model = object(json_, "model");
    const std::string type = text_or(model, "type", model.contains("merges") ? "BPE" : "none");
    if (type != "BPE") {
      fail("{}: a tokenizer model of type '{}' is not supported, only BPE is; dump with data/hf_dump.py",
           path_, type);
    }
    for (const char* key : {"truncation", "padding"}) {
      if (json_.contains(key) && !json_[key].is_null()) fail("{}: '{}' is not supported", path_, key);
    }
    add_normalizer(member(json_, "normalizer"));
    parts_.byte_level = false;
    add_pre_tokenizer(member(json_, "pre_tokenizer"), true);
    add_model(model);
    add_added_tokens(member(json_, "added_tokens"));
    add_front(member(json_, "post_processor"));
    parts_.name = parts_.byte_level ? "tokenizer.json/byte-level BPE" : "tokenizer.json/BPE";
    return std::move(parts_);
  }

 private:
  static const Json& member(const Json& json, const char* key) {
    static const Json none;
    return json.is_object() && json.contains(key) ? json.at(key) : none;
  }
  const Json& object(const Json& json, const char* key) const {
    const Json& value = member(json, key);
    if (!value.is_object()) fail("{}: '{}' is missing or is not an object", path_, key);
    return value;
  }
  std::string text(const Json& json, const char* key) const {
    const Json& value = member(json, key);
    if (!value.is_string()) fail("{}: '{}' is missing or is not a string", path_, key);
    return value.get<std::string>();
  }
  std::string text_or(const Json& json, const char* key, const std::string& fallback) const {
    return member(json, key).is_null() ? fallback : text(json, key);
  }
  bool flag_or(const Json& json, const char* key, bool fallback) const {
    const Json& value = member(json, key);
    if (value.is_null()) return fallback;
    if (!value.is_boolean()) fail("{}: '{}' is not true or false", path_, key);
    return value.get<bool>();
  }
  const Json& list(const Json& json, const char* key) const {
    const Json& value = member(json, key);
    if (!value.is_array()) fail("{}: '{}' is missing or is not a list", path_, key);
    return value;
  }
  int token_id(const Json& value, const std::string& what) const {
    constexpr std::uint64_t ids = 1 << 22;  // the largest vocabularies have a sixteenth of it
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= ids)
      fail("{}: the id of token '{}' is not a whole number below 2^22", path_, what);
    const int id = value.get<int>();
    parts_.vocab_size = std::max(parts_.vocab_size, static_cast<std::size_t>(id) + 1);
    return id;
  }
  /// {"String": s} or {"Regex": r}
  Regex pattern(const Json& json) const {
    const Json& given = object(json, "pattern");
    return given.contains("String") ? Regex::literal(text(given, "String")) : Regex(text(given, "Regex"));
  }

  void add_normalizer(const Json& json) {
    using Form = Normalizer::Form;
    if (json.is_null()) return;
    const std::string type = text(json, "type");
    constexpr std::pair<const char*, Form> forms[] = {
        {"NFC", Form::nfc}, {"NFD", Form::nfd}, {"NFKC", Form::nfkc}, {"NFKD", Form::nfkd}};
    for (const auto& [name, form] : forms) {
      if (type == name) return parts_.normalizer.add(form);
    }
    if (type == "Sequence") {
      for (const Json& each : list(json, "normalizers")) add_normalizer(each);
    } else if (type == "Prepend") {
      parts_.normalizer.add_prepend(text(json, "prepend"));
    } else if (type == "Replace") {
      parts_.normalizer.add_replace(pattern(json), text(json, "content"));
    } else {
      fail("{}: normalizer '{}' is not supported; NFC, NFD, NFKC, NFKD, Prepend, Replace and Sequence are",
           path_, type);
    }
  }

  /// `first`: no step has cut the text yet, so that one may put a space in front of it.
  void add_pre_tokenizer(const Json& json, bool first) {
    using Matches = PreTokenizer::Matches;
    if (json.is_null()) return;
    PreTokenizer& pre = parts_.pre_tokenizer;
    const std::string type = text(json, "type");
    if (type == "Sequence") {
      for (const Json& each : list(json, "pretokenizers")) {
        add_pre_tokenizer(each, first);
        first = false;
      }
    } else if (type == "ByteLevel") {
      parts_.byte_level = true;
      if (flag_or(json, "add_prefix_space", true)) {
        if (!first) fail("{}: 'add_prefix_space' after another pre-tokenizer is not supported", path_);
        parts_.spacing.add_prepend(" ", true);
      }
      if (flag_or(json, "use_regex", true)) pre.add_gpt2();
    } else if (type == "Digits") {
      const bool single = flag_or(json, "individual_digits", false);
      pre.add(Regex("\\p{N}"), single ? Matches::isolated : Matches::contiguous);
    } else if (type == "Split") {
      constexpr std::pair<const char*, Matches> behaviors[] = {{"Removed", Matches::removed},
                                                               {"Isolated", Matches::isolated},
                                                               {"MergedWithPrevious", Matches::with_previous},
                                                               {"MergedWithNext", Matches::with_next},
                                                               {"Contiguous", Matches::contiguous}};
      const std::string name = text(json, "behavior");
      const auto behavior =
          std::ranges::find(behaviors, name, [](const auto& row) { return std::string(row.first); });
      if (behavior == std::end(behaviors)) fail("{}: split behavior '{}' is not known", path_, name);
      pre.add(pattern(json), behavior->second, flag_or(json, "invert", false));
    } else if (type == "Metaspace") {
      if (!first) fail("{}: 'Metaspace' after another pre-tokenizer is not supported", path_);
      const std::string sign = text_or(json, "replacement", "\u2581");
      const std::string scheme =
          text_or(json, "prepend_scheme", flag_or(json, "add_prefix_space", true) ? "always" : "never");
      parts_.spacing.add_replace(Regex::literal(" "), sign);
      if (scheme == "always") {
        parts_.spacing.add_prepend(sign, true);
      } else if (scheme == "first") {
        parts_.start = sign;
      } else if (scheme != "never") {
        fail("{}: prepend_scheme '{}' is not known", path_, scheme);
      }
      if (flag_or(json, "split", true)) pre.add(Regex::literal(sign), Matches::with_next);
    } else {
      fail("{}: pre-tokenizer '{}' is not supported; ByteLevel, Digits, Metaspace, Split and Sequence are",
           path_, type);
    }
  }

  /// A vocabulary entry as what it stands for in text; false if no text has it.
  bool stands_for(const std::string& entry, std::string& out) const {
    if (parts_.byte_level) return alphabet_.decode(entry, out);
    out = entry;
    return true;
  }

  void add_model(const Json& model) {
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json& value = member(model, key);
      if (!value.is_null() && value != "" && value != 0.0)
        fail("{}: a BPE model with '{}' is not supported", path_, key);
    }
    const Json& vocabulary = object(model, "vocab");
    std::string plain;
    for (const auto& [entry, value] : vocabulary.items()) {
      const int id = token_id(value, entry);
      if (!stands_for(entry, plain)) continue;
      parts_.tokens.emplace(plain, id);
      if (parts_.byte_level && plain.size() == 1)
        parts_.bpe.set_byte(static_cast<unsigned char>(plain[0]), id);
    }
    std::string left, right;
    for (const Json& merge : list(model, "merges")) {
      bool good = merge.is_string() ||
                  (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string());
      if (good && merge.is_array()) {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      } else if (good) {
        const auto both = merge.get<std::string>();
        const std::size_t gap = both.find(' ');
        good = gap != std::string::npos;
        left = both.substr(0, gap);
        right = good ? both.substr(gap + 1) : "";
      }
      std::string first, second;
      good = good && stands_for(left, first) && stands_for(right, second);
      const auto end = parts_.tokens.end();
      const auto a = parts_.tokens.find(first), b = parts_.tokens.find(second),
                 c = parts_.tokens.find(first + second);
      if (!good || a == end || b == end || c == end)
        fail("{}: merge {} does not join two tokens into a third", path_,
             merge.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 80));
      parts_.bpe.add_merge(a->second, b->second, c->second);
    }
    parts_.whole_pieces_first = flag_or(model, "ignore_merges", false);
    parts_.fuse_unknown = flag_or(model, "fuse_unk", false);
    if (const std::string unknown = text_or(model, "unk_token", ""); !unknown.empty()) {
      if (!vocabulary.contains(unknown))
        fail("{}: the unknown token '{}' is not in the vocabulary", path_, unknown);
      parts_.unknown = token_id(vocabulary.at(unknown), unknown);
    }
    if (!flag_or(model, "byte_fallback", false)) return;
    parts_.byte_tokens.assign(256, -1);
    for (int byte = 0; byte < 256; ++byte) {
      const std::string name = byte_token(byte);
      if (vocabulary.contains(name))
        parts_.byte_tokens[static_cast<std::size_t>(byte)] = token_id(vocabulary.at(name), name);
    }
  }

  void add_added_tokens(const Json& json) {
    if (json.is_null()) return;
    if (!json.is_array()) fail("{}: 'added_tokens' is not a list", path_);
    for (const Json& each : json) {
      AddedToken token;
      token.text = text(each, "content");
      token.id = token_id(member(each, "id"), token.text);
      token.lstrip = flag_or(each, "lstrip", false);
      token.rstrip = flag_or(each, "rstrip", false);
      token.single_word = flag_or(each, "single_word", false);
      if (flag_or(each, "normalized", !flag_or(each, "special", false))) {
        token.text = parts_.normalizer.apply(token.text);
        parts_.normalized_added.add(std::move(token));
      } else {
        parts_.added.add(std::move(token));
      }
    }
  }

  /// The ids that a post-processor puts before a single text; what it puts behind it is left out.
  void add_front(const Json& json) {
    if (json.is_null()) return;
    const std::string type = text(json, "type");
    if (type == "ByteLevel") return;
    if (type == "Sequence") {
      for (const Json& each : list(json, "processors")) add_front(each);
    } else if (type == "TemplateProcessing") {
      for (const Json& piece : list(json, "single")) {
        if (!piece.is_object() || !piece.contains("SpecialToken")) return;  // the text itself
        const std::string name = text(object(piece, "SpecialToken"), "id");
        const Json& special = member(object(json, "special_tokens"), name.c_str());
        for (const Json& id : list(special, "ids")) parts_.front.push_back(token_id(id, name));
      }
    } else if (type == "RobertaProcessing" || type == "BertProcessing") {
      const Json& cls = list(json, "cls");
      if (cls.size() != 2) fail("{}: 'cls' is not a token and its id", path_);
      parts_.front.push_back(token_id(cls[1], "cls"));
    } else {
      fail("{}: post-processor '{}' is not supported; ByteLevel, TemplateProcessing and Sequence are", path_,
           type);
    }
  }

  std::string path_;
  Json json_;
  ByteAlphabet alphabet_;
  mutable TokenizerParts parts_;
};

}  // namespace

TokenizerParts read_tokenizer(const HfFolder& folder) { return Reader(folder).read(); }

}  // namespace anchor
