#include "anchor/eval/vocabulary.hpp"

#include <algorithm>
#include <set>
#include <sstream>
#include <string_view>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

constexpr std::string_view adjective_list =
    "amber ancient angry awake bitter blank blue bold brave brief bright broad broken calm careful cheap "
    "clean clear "
    "clever cold common cool crisp crooked cruel curious curly damp dark deep dim dry dusty eager early "
    "empty even faint "
    "fair false famous fancy fast fierce final fine firm flat foggy fond fresh frozen full gentle giant glad "
    "golden grand "
    "grave green grey happy hard harsh heavy hidden high hollow honest hot huge humble icy idle jolly keen "
    "kind large late "
    "lazy lean light little lively local lone long loose loud loyal lucky mad mellow merry mild modern "
    "narrow neat new "
    "noble noisy odd old open pale patient plain polite poor proud pure quick quiet rapid rare raw ready red "
    "rich ripe "
    "rough round royal rusty sad salty secret shallow sharp shiny short shy silent silver simple slim slow "
    "small smooth "
    "soft solid sour spare steep stern stiff still straight strange strict strong sudden sunny sweet swift "
    "tall tame tender "
    "thick thin tidy tight tiny tired tough vague vast warm weak wet white wide wild wise wooden yellow "
    "young";

constexpr std::string_view noun_list =
    "acorn anchor anvil apple apron arrow attic badge bakery ball bamboo banjo barn barrel basin basket "
    "beach beacon bean "
    "bear beaver bell bench berry bird blanket boat bone book boot bottle bowl box branch bread breeze brick "
    "bridge broom "
    "brush bucket button cabin cable cactus camel candle canoe canyon captain carpet carrot castle cave "
    "cedar cellar chain "
    "chair chalk cherry chest chimney circle clay cliff clock cloud clover coast coat cobbler coin comet "
    "compass cook copper "
    "coral cottage cotton cradle crane crow crown cup curtain daisy deer desert desk diamond doctor dolphin "
    "donkey door "
    "dragon drawer drum duck eagle easel elbow engine falcon farmer feather fence fern ferry fiddle field "
    "fisher flag flame "
    "flute forest fork fountain fox frog garden gate giraffe glacier glove goat goose grape guitar hammer "
    "harbor harp hat "
    "hawk hazel hedge helmet hill honey horn horse hotel hound island ivy jacket jar jewel jungle kettle key "
    "kite kitten "
    "knife ladder lagoon lake lamp lantern lark leaf lemon letter lily lion lizard loaf lobster lock lodge "
    "loom magnet "
    "maple marble market mask meadow melon mill miner mirror mitten monkey moon moss mountain mouse needle "
    "nest net nurse "
    "oak oar ocean olive onion orchard otter oven owl paddle painter palace panda paper parrot path peach "
    "pear pebble pen "
    "pepper piano pigeon pillow pilot pine pipe pirate plate plow plum pocket pond pony poplar potato "
    "prairie puppet quilt "
    "rabbit raft rain raven reef ribbon ring river road robin rocket roof rope rose rudder sail salmon sand "
    "scarf school "
    "seal shell shelf shepherd ship shoe shovel shrimp signal sled smith snail snow sock sparrow spider "
    "spoon spring squirrel "
    "stable star statue stone stool storm stove stream street sugar summit sunset swan table tailor teacher "
    "temple tent "
    "thorn thunder tiger toad tower trail train tree trout trumpet tulip tunnel turtle umbrella valley vase "
    "velvet village "
    "vine violin wagon wall walnut walrus waterfall weaver whale wheat wheel whistle willow window wing "
    "winter wolf zebra";

constexpr std::string_view verb_list =
    "admires avoids borrows brings builds buys carries carves catches cleans collects copies counts covers "
    "draws drops "
    "enjoys fears feeds fills finds fixes follows forgets guards hears hides holds keeps leaves lifts likes "
    "loses makes "
    "measures mends misses moves needs offers opens orders paints passes plants pulls pushes reaches "
    "remembers returns sees "
    "sells sends shares shows sings starts steals studies takes teaches trades wants washes watches";

constexpr std::string_view place_list =
    "behind the church|near the harbor wall|after the first frost|before noon|by the old well|in the long "
    "valley|on the "
    "way home|under the bridge|at the end of the road|without a word|on market day|in the early light|across "
    "the river|"
    "for no clear reason|beside the mill|during the dry season|above the tree line|in an empty room|once a "
    "week|with great "
    "care|at the edge of town|between two storms|late in the year|among the tall reeds";

/// Every second item, the first or the second of each pair.
std::vector<std::string> half(std::string_view list, char between, TaskSplit split) {
  std::vector<std::string> items;
  std::istringstream stream{std::string(list)};
  std::size_t index = 0;
  for (std::string item; std::getline(stream, item, between); ++index)
    if (index % 2 == (split == TaskSplit::test)) items.push_back(item);
  return items;
}

}  // namespace

Vocabulary::Vocabulary(TaskSplit split, const std::vector<std::string>& words)
    : split_(split),
      adjectives_(half(adjective_list, ' ', split)),
      nouns_(half(noun_list, ' ', split)),
      verbs_(half(verb_list, ' ', split)),
      places_(half(place_list, '|', split)) {
  if (words.empty()) return;
  const std::set<std::string> different(words.begin(), words.end());
  if (different.size() < 200)
    fail_usage("{} different words are too few for tasks; 200 will do", different.size());
  nouns_.clear();
  std::size_t index = 0;
  for (const std::string& word : different)
    if (index++ % 2 == (split == TaskSplit::test)) nouns_.push_back(word);
}

std::vector<std::string> Vocabulary::keys(TaskRandom& random, std::int64_t count) const {
  std::vector<std::string> keys;
  std::set<std::string> used;
  const auto most = static_cast<std::int64_t>(adjectives_.size() * nouns_.size());
  while (static_cast<std::int64_t>(keys.size()) < count) {
    std::string key = random.pick(adjectives_) + "-" + random.pick(nouns_);
    if (2 * static_cast<std::int64_t>(used.size()) >= most) key += "-" + random.pick(nouns_);
    if (used.insert(key).second) keys.push_back(std::move(key));
  }
  return keys;
}

std::vector<std::string> Vocabulary::coined(TaskRandom& random, std::int64_t count) const {
  constexpr std::string_view onset = "bcdfghjklmnprstvz", vowel = "aeiou";
  std::vector<std::string> words;
  std::set<std::string> used;
  while (static_cast<std::int64_t>(words.size()) < count) {
    std::string word;
    for (int syllable = 0; syllable < 3; ++syllable) {
      word += onset[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(onset.size())))];
      word += vowel[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(vowel.size())))];
    }
    word += split_ == TaskSplit::fit ? 'n' : 's';
    if (used.insert(word).second) words.push_back(std::move(word));
  }
  return words;
}

std::vector<std::string> Vocabulary::words(TaskRandom& random, std::int64_t count) const {
  std::vector<std::string> words = nouns_;
  random.shuffle(words);
  if (static_cast<std::int64_t>(words.size()) >= count) {
    words.resize(static_cast<std::size_t>(count));
    return words;
  }
  for (std::string& word : coined(random, count - static_cast<std::int64_t>(words.size())))
    words.push_back(std::move(word));
  return words;
}

std::string Vocabulary::sentence(TaskRandom& random) const {
  const std::string subject = random.pick(adjectives_) + " " + random.pick(nouns_);
  const std::string object = random.pick(nouns_);
  return "The " + subject + " " + random.pick(verbs_) + " the " + object + " " + random.pick(places_) + ".";
}

}  // namespace anchor
