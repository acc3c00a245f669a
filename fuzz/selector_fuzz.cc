// Selector text: whatever it is, parsing ends with a selector or an error, and a selector means the same in
// every form it can take.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "resources/selector/selector.h"

namespace {

using ocicat::LabelRestriction;
using ocicat::LabelSource;
using ocicat::Selector;

class MapLabels : public LabelSource {
 public:
  std::map<std::string, std::string, std::less<>> values;

  std::optional<std::string_view> find(std::string_view name) const override {
    const auto found = values.find(name);
    if (found == values.end()) return std::nullopt;
    return found->second;
  }
};

// The strings between quotes, and some that are near them: what label values are worth trying.
std::vector<std::string> values_in(std::string_view text) {
  std::vector<std::string> values{"", "x"};
  for (std::size_t open = 0; open < text.size() && values.size() < 8; ++open) {
    if (text[open] != '"' && text[open] != '\'') continue;
    const auto close = text.find(text[open], open + 1);
    if (close == std::string_view::npos) break;
    const auto value = std::string(text.substr(open + 1, close - open - 1));
    values.push_back(value);
    values.push_back("x" + value + "x");
    open = close;
  }
  return values;
}

bool allows(const std::map<std::string, LabelRestriction>& restrictions, const MapLabels& labels) {
  for (const auto& [name, restriction] : restrictions) {
    const auto value = labels.find(name);
    if (restriction.present && !value) return false;
    if (restriction.absent && value) return false;
    if (restriction.one_of && (!value || !restriction.one_of->contains(std::string(*value)))) return false;
  }
  return true;
}

void check_with(const Selector& selector, const Selector& again, const MapLabels& labels) {
  const bool matches = selector.matches(labels);
  CHECK(again.matches(labels) == matches);
  CHECK((!selector).matches(labels) != matches);
  CHECK((selector && Selector::all()).matches(labels) == matches);
  if (matches) CHECK(allows(selector.restrictions(), labels));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto selector = Selector::parse(text);
  const auto checked = Selector::check(text);
  CHECK(checked.has_value() == selector.has_value());
  if (!selector) {
    CHECK(!selector.error().message.empty() && checked.error() == selector.error());
    return 0;
  }
  const auto again = Selector::parse(selector->canonical());
  CHECK(again.has_value());
  CHECK(again->canonical() == selector->canonical());
  CHECK(*again == *selector && again->id() == selector->id());
  CHECK(again->label_names() == selector->label_names());
  CHECK(!!*selector == *selector);

  const auto local = selector->replace_all_with_has("ns").replace_global_with_not_has("ns");
  CHECK(Selector::parse(local.canonical()) == local);
  const auto names = selector->label_names();
  CHECK(selector->with_prefix("pcns.").label_names().size() == names.size());

  MapLabels labels;
  check_with(*selector, *again, labels);
  std::size_t turn = size;
  const auto values = values_in(text);
  for (std::size_t round = 0; round < values.size(); ++round) {
    for (const auto& name : names) {
      if (++turn % 5 == 0) {
        labels.values.erase(name);
      } else {
        labels.values[name] = values[turn % values.size()];
      }
    }
    check_with(*selector, *again, labels);
  }
  return 0;
}
