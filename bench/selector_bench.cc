// selector-eval: nanoseconds for one evaluation of a selector of four terms against ten labels; the least of
// 15 rounds over 64 sets of labels of which half match.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "resources/selector/selector.h"

namespace {

using namespace ocicat;

class LabelMap : public LabelSource {
 public:
  std::map<std::string, std::string, std::less<>> labels;
  std::optional<std::string_view> find(std::string_view name) const override {
    const auto it = labels.find(name);
    if (it == labels.end()) return std::nullopt;
    return it->second;
  }
};

std::vector<LabelMap> label_sets() {
  std::vector<LabelMap> sets(64);
  for (std::size_t i = 0; i < sets.size(); ++i) {
    for (int label = 0; label < 7; ++label)
      sets[i].labels[fmt::format("other-{}", label)] = fmt::format("v{}", i);
    sets[i].labels["role"] = "frontend";
    sets[i].labels["env"] = i % 2 == 0 ? "prod" : "test";
    sets[i].labels["tier"] = "web-1";
  }
  return sets;
}

}  // namespace

int main() {
  constexpr int kRounds = 15;
  constexpr int kRepeats = 20'000;
  const auto selector = Selector::parse(
      "role == 'frontend' && env in {'prod', 'stage'} && tier starts with 'web' && !has(quarantine)");
  CHECK(selector.has_value());
  const auto sets = label_sets();
  double least = 1e9;
  std::size_t matched = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kRepeats; ++i) {
      for (const auto& labels : sets) matched += selector->matches(labels) ? 1U : 0U;
    }
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
    least =
        std::min(least, spent.count() / (static_cast<double>(kRepeats) * static_cast<double>(sets.size())));
  }
  CHECK(matched == sets.size() / 2 * kRepeats * kRounds);
  std::printf("selector-eval %.1f ns\n", least);
}
