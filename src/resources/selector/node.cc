#include "resources/selector/node.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "resources/selector/tokenizer.h"

namespace ocicat {
namespace {

std::string_view symbol(Operator op) {
  switch (op) {
    case Operator::kEqual:
      return to_string(TokenKind::kEqual);
    case Operator::kNotEqual:
      return to_string(TokenKind::kNotEqual);
    case Operator::kContains:
      return to_string(TokenKind::kContains);
    case Operator::kStartsWith:
      return to_string(TokenKind::kStartsWith);
    case Operator::kEndsWith:
      return to_string(TokenKind::kEndsWith);
    case Operator::kIn:
      return to_string(TokenKind::kIn);
    case Operator::kNotIn:
      return to_string(TokenKind::kNotIn);
    case Operator::kAnd:
      return to_string(TokenKind::kAnd);
    case Operator::kOr:
      return to_string(TokenKind::kOr);
    default:
      return {};
  }
}

void append_quoted(std::string& text, std::string_view value) {
  const char quote = value.find('"') == std::string_view::npos ? '"' : '\'';
  text += quote;
  text += value;
  text += quote;
}

void append_leaf(std::string& text, const Term& term) {
  if (term.op == Operator::kAll || term.op == Operator::kGlobal) {
    text += to_string(term.op == Operator::kAll ? TokenKind::kAll : TokenKind::kGlobal);
    return;
  }
  if (term.op == Operator::kHas) {
    text += "has(";
    text += term.label;
    text += ')';
    return;
  }
  text += term.label;
  text += ' ';
  text += symbol(term.op);
  text += ' ';
  if (term.op != Operator::kIn && term.op != Operator::kNotIn) {
    append_quoted(text, term.values.front());
    return;
  }
  text += '{';
  for (std::size_t i = 0; i < term.values.size(); ++i) {
    if (i > 0) text += ", ";
    append_quoted(text, term.values[i]);
  }
  text += '}';
}

void append_term(std::string& text, const Terms& terms, std::size_t at) {
  const auto& term = terms[at];
  if (is_leaf(term.op)) {
    append_leaf(text, term);
  } else if (term.op == Operator::kNot) {
    text += '!';
    append_term(text, terms, at + 1);
  } else {
    text += '(';
    for (auto operand = at + 1; operand < at + term.span; operand += terms[operand].span) {
      if (operand != at + 1) text.append(" ").append(symbol(term.op)).append(" ");
      append_term(text, terms, operand);
    }
    text += ')';
  }
}

// Turns groups into jumps: an operand of && that is false ends the whole group, and so on; ! swaps the
// targets.
class Assembler {
 public:
  explicit Assembler(const Terms& terms) : terms_(terms), first_step_(terms.size()) {
    std::uint32_t leaves = 0;
    for (std::size_t i = 0; i < terms.size(); ++i) {
      first_step_[i] = leaves;
      if (is_leaf(terms[i].op)) ++leaves;
    }
    steps_.reserve(leaves);
    assemble(0, kMatch, kMismatch);
  }

  std::vector<Step> take() && { return std::move(steps_); }

 private:
  void assemble(std::size_t at, std::uint32_t on_true, std::uint32_t on_false) {
    const auto& term = terms_[at];
    if (is_leaf(term.op)) {
      Step step{term.op, on_true, on_false, term.label, {}, term.values};
      if (!term.values.empty()) step.value = term.values.front();
      steps_.push_back(step);
      return;
    }
    if (term.op == Operator::kNot) return assemble(at + 1, on_false, on_true);
    const auto end = at + term.span;
    for (auto operand = at + 1; operand < end;) {
      const auto next = operand + terms_[operand].span;
      const bool last = next == end;
      if (term.op == Operator::kAnd) {
        assemble(operand, last ? on_true : first_step_[next], on_false);
      } else {
        assemble(operand, on_true, last ? on_false : first_step_[next]);
      }
      operand = next;
    }
  }

  const Terms& terms_;
  std::vector<std::uint32_t> first_step_;  // of the subtree that begins at each term
  std::vector<Step> steps_;
};

}  // namespace

Selector::Node::Node(Terms parsed) : terms(std::move(parsed)), steps(Assembler(terms).take()) {
  append_term(canonical, terms, 0);
}

Terms leaf(Operator op, std::string_view label, std::vector<std::string> values) {
  std::ranges::sort(values);
  const auto repeated = std::ranges::unique(values);
  values.erase(repeated.begin(), repeated.end());
  Terms terms;
  terms.push_back({op, 1, std::string(label), std::move(values)});
  return terms;
}

Terms negated(Terms operand) {
  if (operand.front().op == Operator::kNot) {
    operand.erase(operand.begin());
  } else {
    const auto span = operand.front().span + 1;
    operand.insert(operand.begin(), Term{Operator::kNot, span, {}, {}});
  }
  return operand;
}

Terms grouped(Operator group, std::vector<Terms> operands) {
  Terms terms(1);
  for (auto& operand : operands) {
    std::ranges::move(operand, std::back_inserter(terms));
  }
  terms.front().op = group;
  terms.front().span = static_cast<std::uint32_t>(terms.size());
  return terms;
}

}  // namespace ocicat
