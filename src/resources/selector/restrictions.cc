// Selector::restrictions(): what a selector demands of single labels.
#include <algorithm>
#include <iterator>
#include <utility>

#include "resources/selector/node.h"

namespace ocicat {
namespace {

using Restrictions = std::map<std::string, LabelRestriction>;
using Values = std::set<std::string>;

Values intersection(const Values& a, const Values& b) {
  Values both;
  std::ranges::set_intersection(a, b, std::inserter(both, both.end()));
  return both;
}

// What holds where both hold.
Restrictions both(Restrictions a, const Restrictions& b) {
  for (const auto& [label, more] : b) {
    auto& restriction = a[label];
    restriction.present |= more.present;
    restriction.absent |= more.absent;
    if (!more.one_of) continue;
    restriction.one_of = restriction.one_of ? intersection(*restriction.one_of, *more.one_of) : *more.one_of;
  }
  return a;
}

// What holds where at least one holds.
Restrictions either(Restrictions a, const Restrictions& b) {
  for (auto it = a.begin(); it != a.end();) {
    auto& restriction = it->second;
    const auto found = b.find(it->first);
    const LabelRestriction none;
    const auto& other = found == b.end() ? none : found->second;
    restriction.present &= other.present;
    restriction.absent &= other.absent;
    if (!other.one_of) {
      restriction.one_of.reset();
    } else if (restriction.one_of) {
      restriction.one_of->insert(other.one_of->begin(), other.one_of->end());
    }
    it = restriction == none ? a.erase(it) : std::next(it);
  }
  return a;
}

Restrictions of_leaf(const Term& term, bool negate) {
  const LabelRestriction present{true, false, {}};
  const LabelRestriction absent{false, true, {}};
  const LabelRestriction valued{true, false, Values(term.values.begin(), term.values.end())};
  switch (term.op) {
    case Operator::kHas:
      return {{term.label, negate ? absent : present}};
    case Operator::kEqual:
    case Operator::kIn:
      return negate ? Restrictions() : Restrictions{{term.label, valued}};
    case Operator::kNotEqual:
    case Operator::kNotIn:
      return negate ? Restrictions{{term.label, valued}} : Restrictions();
    case Operator::kContains:
    case Operator::kStartsWith:
    case Operator::kEndsWith:
      return negate ? Restrictions() : Restrictions{{term.label, present}};
    default:
      return {};
  }
}

Restrictions of_term(const Terms& terms, std::size_t at, bool negate) {
  const auto& term = terms[at];
  if (is_leaf(term.op)) return of_leaf(term, negate);
  if (term.op == Operator::kNot) return of_term(terms, at + 1, !negate);
  // Not both is either not, and the other way round (De Morgan).
  const bool all_must_hold = (term.op == Operator::kAnd) != negate;
  auto operand = at + 1;
  auto whole = of_term(terms, operand, negate);
  for (operand += terms[operand].span; operand < at + term.span; operand += terms[operand].span) {
    auto next = of_term(terms, operand, negate);
    whole = all_must_hold ? both(std::move(whole), next) : either(std::move(whole), next);
  }
  return whole;
}

}  // namespace

std::map<std::string, LabelRestriction> Selector::restrictions() const {
  return of_term(root_->terms, 0, false);
}

std::optional<Selector> Selector::apart_from_values_of(std::string_view label) const {
  const auto& terms = root_->terms;
  const auto asks_values = [&](const Term& term) {
    return (term.op == Operator::kEqual || term.op == Operator::kIn) && term.label == label;
  };
  if (asks_values(terms.front())) return all();
  if (terms.front().op != Operator::kAnd) return std::nullopt;
  std::vector<Terms> others;
  bool found = false;
  for (std::size_t at = 1; at < terms.size(); at += terms[at].span) {
    if (!found && asks_values(terms[at])) {
      found = true;
      continue;
    }
    const auto begin = terms.begin() + static_cast<std::ptrdiff_t>(at);
    others.emplace_back(begin, begin + terms[at].span);
  }
  if (!found) return std::nullopt;
  auto rest = others.size() == 1 ? std::move(others.front()) : grouped(Operator::kAnd, std::move(others));
  return Selector(std::make_shared<const Node>(std::move(rest)));
}

}  // namespace ocicat
