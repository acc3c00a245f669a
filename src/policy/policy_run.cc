#include "policy/policy_run.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace ocicat::policy {

namespace {

// "name/namespace/kind" against another one, without writing them down.
bool joined_before(const ResourceKey& a, const ResourceKey& b) {
  const auto parts = [](const ResourceKey& key) {
    return std::array<std::string_view, 5>{key.name, "/", key.ns, "/", name_for_order(key.kind)};
  };
  const auto pa = parts(a);
  const auto pb = parts(b);
  std::size_t ia = 0, ib = 0, at = 0, bt = 0;
  while (true) {
    while (ia < pa.size() && at == pa[ia].size()) ++ia, at = 0;
    while (ib < pb.size() && bt == pb[ib].size()) ++ib, bt = 0;
    if (ib == pb.size()) return false;
    if (ia == pa.size()) return true;
    const auto ca = static_cast<unsigned char>(pa[ia][at++]);
    const auto cb = static_cast<unsigned char>(pb[ib][bt++]);
    if (ca != cb) return ca < cb;
  }
}

// The first policy of a stretch of a run that comes behind a policy of another. Looks near the beginning
// first: where runs lie between each other, it is there.
std::uint32_t first_behind(const PolicyRun& run, std::uint32_t first, std::uint32_t end,
                           const PolicyRun& other, std::uint32_t policy) {
  std::uint32_t step = 1;
  while (first < end) {
    const auto probe = std::min(first + step, end) - 1;
    if (other.comes_before(policy, run, probe)) {
      end = probe;
      step = (end - first + 1) / 2;
    } else {
      first = probe + 1;
      step *= 2;
    }
  }
  return first;
}

}  // namespace

void MatchMarks::clear() {
  if (++round_ != 0) return;
  marks_.clear();
  round_ = 1;
}

Digest digest_of(const RuleList& list, const RuleBook& book) {
  std::string text;
  const auto id = list.id.to_string();
  text += fmt::format("{}:{}{},{}", id.size(), id, list.denies, list.rules.size());
  for (const auto& rule : list.rules) {
    text += fmt::format(";{},{},", rule.index, static_cast<int>(rule.action));
    const auto& match = book.match(rule.match).digest;
    text.append(reinterpret_cast<const char*>(match.bytes.data()), match.bytes.size());
  }
  return Digest::of(text);
}

bool comes_before(double order_a, const ResourceKey& a, double order_b, const ResourceKey& b) {
  if (order_a != order_b) return order_a < order_b;
  return joined_before(a, b);
}

// --- runs ---

bool PolicyRun::comes_before(std::size_t policy, const PolicyRun& other, std::size_t other_policy) const {
  return policy::comes_before(orders[policy], policies[policy]->id, other.orders[other_policy],
                              other.policies[other_policy]->id);
}

void PolicyRun::add(std::shared_ptr<const RuleList> policy, double order) {
  staged += policy->staged() ? 1 : 0;
  orders.push_back(order);
  names.push_back(policy->name);
  digests.push_back(policy->digest);
  policies.push_back(std::move(policy));
}

// A Log rule settles nothing, and what staged policy decides it decides only in what would be.
void PolicyRun::find_telling_rules(MatchMarks& marks) {
  marks.clear();
  for (std::uint32_t number = 0; number < policies.size(); ++number) {
    const auto& list = *policies[number];
    if (list.denies != RuleList::kRules) {
      rules.push_back({number, {}});
      continue;
    }
    for (const auto& rule : list.rules) {
      if (marks.has(rule.match)) continue;
      rules.push_back({number, rule});
      if (rule.action != Action::kLog && !list.staged()) marks.mark(rule.match);
    }
  }
  rules.shrink_to_fit();
}

// --- stages ---

std::span<const PolicyRun::TellingRule> Stage::Part::rules() const {
  const auto begin = std::ranges::lower_bound(run->rules, first, {}, &PolicyRun::TellingRule::policy);
  const auto behind =
      std::ranges::lower_bound(begin, run->rules.end(), end, {}, &PolicyRun::TellingRule::policy);
  return {begin, behind};
}

void Stage::merge(const std::shared_ptr<const PolicyRun>& run) {
  std::vector<Part> merged;
  std::uint32_t next = 0;
  const auto size = static_cast<std::uint32_t>(run->policies.size());
  for (auto& part : parts) {
    while (next < size) {
      const auto cut = first_behind(*part.run, part.first, part.end, *run, next);
      if (cut > part.first) merged.push_back({part.run, part.first, cut});
      part.first = cut;
      if (cut == part.end) break;
      const auto until = first_behind(*run, next, size, *part.run, cut);
      merged.push_back({run, next, until});
      next = until;
    }
    if (part.first < part.end) merged.push_back(std::move(part));
  }
  if (next < size) merged.push_back({run, next, size});
  parts = std::move(merged);
}

void Stage::number_policies() {
  std::uint32_t at = 0;
  for (auto& part : parts) {
    part.at = at;
    at = part.number(part.end);
  }
}

const std::shared_ptr<const RuleList>& Stage::policy(std::uint32_t number) const {
  const auto behind = std::ranges::upper_bound(parts, number, {}, &Part::at);
  const auto& part = *(behind - 1);
  return part.run->policies[part.first + number - part.at];
}

bool Stage::has_staged() const {
  return std::ranges::any_of(parts, [](const Part& part) { return part.run->staged > 0; });
}

bool Stage::only_staged() const {
  return std::ranges::all_of(parts,
                             [](const Part& part) { return part.run->staged == part.run->policies.size(); });
}

}  // namespace ocicat::policy
