// The parsed form of a selector. Private to selector/.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "resources/selector/selector.h"

namespace ocicat {

enum class Operator : std::uint8_t {
  // Leaves: what is asked of one label.
  kAll,
  kGlobal,
  kHas,
  kEqual,
  kNotEqual,
  kContains,
  kStartsWith,
  kEndsWith,
  kIn,
  kNotIn,
  // Groups: their operands follow.
  kNot,
  kAnd,
  kOr,
};

constexpr bool is_leaf(Operator op) {
  return op < Operator::kNot;
}

// One node of the tree. The tree lies in prefix order: a group, then its operands.
struct Term {
  Operator op = Operator::kAll;
  std::uint32_t span = 1;           // terms of this subtree, itself included
  std::string label;                // leaves that have one
  std::vector<std::string> values;  // one for ==, contains…; sorted and without repetition for in, not in
};

using Terms = std::vector<Term>;

// One question of the evaluation, and where to go with its answer: no group is left, no answer is ever
// stored.
struct Step {
  Operator op = Operator::kAll;
  std::uint32_t on_true = 0;  // index of a step, or one of the two below
  std::uint32_t on_false = 0;
  std::string_view label;
  std::string_view value;
  std::span<const std::string> values;
};

inline constexpr std::uint32_t kMatch = std::numeric_limits<std::uint32_t>::max();
inline constexpr std::uint32_t kMismatch = kMatch - 1;

// Deepest nesting of groups that parse() takes, and most open parentheses.
inline constexpr std::size_t kMaxDepth = 200;

struct Selector::Node {
  Terms terms;
  std::vector<Step> steps;  // views into `terms`
  std::string canonical;

  explicit Node(Terms parsed);
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
};

Terms leaf(Operator op, std::string_view label = {}, std::vector<std::string> values = {});
// Two negations are none.
Terms negated(Terms operand);
// `group` is kAnd or kOr; there are at least two operands.
Terms grouped(Operator group, std::vector<Terms> operands);

}  // namespace ocicat
