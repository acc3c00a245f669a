// A list in pieces: read the same wherever it is cut, never more than a plain parser of JSON would make of it,
// and nothing less where it is a list.
//
// The input: a byte that says how long pieces are, then the text.
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/client/list_reader.h"

namespace {

using namespace ocicat;
namespace json = boost::json;

struct Read {
  std::vector<std::string> items;
  std::string resource_version;  // empty: it is no list

  bool operator==(const Read&) const = default;
};

Read read(std::string_view text, std::size_t piece) {
  api::ListReader reader(Kind::kTier);
  Read all;
  const auto on_item = [&](const json::object& item) { all.items.push_back(json::serialize(item)); };
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) {
    if (!reader.feed(text.substr(0, piece), on_item)) return all;
  }
  all.resource_version = reader.end().value_or("");
  return all;
}

// The items as a parser of whole documents finds them; nothing where it finds no list.
std::optional<std::vector<std::string>> plainly(std::string_view text) {
  boost::system::error_code error;
  const auto parsed = json::parse(text, error, {}, {.max_depth = 130});
  const auto* list = error ? nullptr : parsed.if_object();
  const auto* items = list == nullptr ? nullptr : list->if_contains("items");
  if (items == nullptr || !(items->is_array() || items->is_null())) return std::nullopt;
  std::vector<std::string> texts;
  if (items->is_null()) return texts;
  for (const auto& item : items->get_array()) {
    if (!item.is_object()) return std::nullopt;
    auto whole = item.get_object();
    if (!whole.contains("apiVersion")) whole["apiVersion"] = info(Kind::kTier).api_version();
    if (!whole.contains("kind")) whole["kind"] = info(Kind::kTier).name;
    texts.push_back(json::serialize(whole));
  }
  return texts;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = read(text, text.size() + 1);
  CHECK(read(text, 1U + data[0] % 16U) == whole);
  if (whole.resource_version.empty()) return 0;
  const auto items = plainly(text);
  CHECK(items && *items == whole.items);
  return 0;
}
