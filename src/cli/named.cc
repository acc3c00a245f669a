#include "cli/named.h"

#include <fmt/format.h>

namespace ocicat::cli {
namespace {

ResourceKey key_for(Kind kind, std::string_view name, const std::string& ns) {
  if (!info(kind).namespaced) return {kind, "", std::string(name)};
  return {kind, ns.empty() ? "default" : ns, std::string(name)};
}

}  // namespace

Result<Kind> kind_of_word(std::string_view word) {
  if (const auto kind = find_kind_by_word(word)) return *kind;
  return fail(ErrorCode::kInvalid, "there is no kind \"{}\": `ocicat api-kinds` lists them all", word);
}

Result<std::vector<Kind>> kinds_of_words(std::string_view words) {
  std::vector<Kind> kinds;
  while (true) {
    const auto comma = words.find(',');
    TRY(const Kind kind, kind_of_word(words.substr(0, comma)));
    kinds.push_back(kind);
    if (comma == std::string_view::npos) return kinds;
    words.remove_prefix(comma + 1);
  }
}

Result<std::vector<ResourceKey>> keys_of_words(const std::vector<std::string>& words, const std::string& ns) {
  std::vector<ResourceKey> keys;
  if (words.empty()) return keys;
  if (words.front().find('/') != std::string::npos) {
    for (const std::string& word : words) {
      const auto slash = word.find('/');
      if (slash == std::string::npos || slash + 1 == word.size()) {
        return fail(ErrorCode::kInvalid, "\"{}\": write KIND/NAME, as for the first one", word);
      }
      TRY(const Kind kind, kind_of_word(std::string_view(word).substr(0, slash)));
      keys.push_back(key_for(kind, std::string_view(word).substr(slash + 1), ns));
    }
    return keys;
  }
  TRY(const std::vector<Kind> kinds, kinds_of_words(words.front()));
  if (kinds.size() > 1 && words.size() > 1) {
    return fail(ErrorCode::kInvalid, "names go with one kind, not with several: write KIND/NAME for each");
  }
  for (std::size_t i = 1; i < words.size(); ++i) keys.push_back(key_for(kinds.front(), words[i], ns));
  return keys;
}

}  // namespace ocicat::cli
