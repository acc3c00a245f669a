#include "resources/selector/selector.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <utility>

#include "resources/selector/node.h"

namespace ocicat {
namespace {

bool holds(const Step& step, const LabelSource& labels) {
  if (step.op == Operator::kAll || step.op == Operator::kGlobal) return true;
  const auto value = labels.find(step.label);
  if (!value) return step.op == Operator::kNotEqual || step.op == Operator::kNotIn;
  const std::string_view text = *value;
  switch (step.op) {
    case Operator::kHas:
      return true;
    case Operator::kEqual:
      return text == step.value;
    case Operator::kNotEqual:
      return text != step.value;
    case Operator::kContains:
      return text.find(step.value) != std::string_view::npos;
    case Operator::kStartsWith:
      return text.starts_with(step.value);
    case Operator::kEndsWith:
      return text.ends_with(step.value);
    case Operator::kIn:
      return std::binary_search(step.values.begin(), step.values.end(), text, std::less<>());
    case Operator::kNotIn:
      return !std::binary_search(step.values.begin(), step.values.end(), text, std::less<>());
    default:
      return false;
  }
}

// RFC 4648 section 5, without padding.
std::string base64url(std::span<const unsigned char> bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const auto length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                                      static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  text.erase(std::min(text.find('='), text.size()));
  std::ranges::replace(text, '+', '-');
  std::ranges::replace(text, '/', '_');
  return text;
}

// No text can say a string that holds both kinds of quote.
bool sayable(std::string_view value) {
  return value.find('"') == std::string_view::npos || value.find('\'') == std::string_view::npos;
}

}  // namespace

Selector::Selector(std::shared_ptr<const Node> root) : root_(std::move(root)) {}

Selector Selector::all() {
  static const Selector all(std::make_shared<const Node>(leaf(Operator::kAll)));
  return all;
}

bool Selector::matches(const LabelSource& labels) const {
  const auto* const steps = root_->steps.data();
  std::uint32_t at = 0;
  while (at < kMismatch) {
    const auto& step = steps[at];
    at = holds(step, labels) ? step.on_true : step.on_false;
  }
  return at == kMatch;
}

const std::string& Selector::canonical() const {
  return root_->canonical;
}

std::string Selector::id() const {
  const auto hashed = "s:" + root_->canonical;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  CHECK(EVP_Digest(hashed.data(), hashed.size(), digest.data(), &length, EVP_sha224(), nullptr) == 1);
  return "s:" + base64url(std::span(digest).first(length));
}

bool Selector::is_all() const {
  return root_->terms.front().op == Operator::kAll;
}

std::set<std::string> Selector::label_names() const {
  std::set<std::string> names;
  for (const auto& term : root_->terms) {
    if (!term.label.empty()) names.insert(term.label);
  }
  return names;
}

Selector Selector::with_prefix(std::string_view prefix) const {
  auto terms = root_->terms;
  for (auto& term : terms) {
    if (!term.label.empty()) term.label.insert(0, prefix);
  }
  return Selector(std::make_shared<const Node>(std::move(terms)));
}

Selector Selector::replace_all_with_has(std::string_view label) const {
  auto terms = root_->terms;
  for (auto& term : terms) {
    if (term.op == Operator::kAll) term = leaf(Operator::kHas, label).front();
  }
  return Selector(std::make_shared<const Node>(std::move(terms)));
}

Selector Selector::replace_global_with_not_has(std::string_view label) const {
  // Built anew from the last term to the first: each global() becomes two terms, or one where a negation is
  // before it, and the spans of the groups around it follow.
  const auto& terms = root_->terms;
  std::vector<Terms> operands;  // what is built of the terms after the current one, last on top
  for (auto at = terms.size(); at-- > 0;) {
    const auto& term = terms[at];
    if (term.op == Operator::kGlobal) {
      operands.push_back(negated(leaf(Operator::kHas, label)));
    } else if (is_leaf(term.op)) {
      operands.push_back({term});
    } else if (term.op == Operator::kNot) {
      operands.back() = negated(std::move(operands.back()));
    } else {
      std::vector<Terms> group;
      for (auto operand = at + 1; operand < at + term.span; operand += terms[operand].span) {
        group.push_back(std::move(operands.back()));
        operands.pop_back();
      }
      operands.push_back(grouped(term.op, std::move(group)));
    }
  }
  return Selector(std::make_shared<const Node>(std::move(operands.front())));
}

Selector Selector::operator&&(const Selector& other) const {
  return Selector(std::make_shared<const Node>(grouped(Operator::kAnd, {root_->terms, other.root_->terms})));
}

Selector Selector::operator!() const {
  return Selector(std::make_shared<const Node>(negated(root_->terms)));
}

Selector Selector::label_equals(std::string_view label, std::string_view value) {
  if (!sayable(value)) return Selector(std::make_shared<const Node>(leaf(Operator::kIn, label)));
  return Selector(std::make_shared<const Node>(leaf(Operator::kEqual, label, {std::string(value)})));
}

Selector Selector::label_in(std::string_view label, const std::set<std::string>& values) {
  std::vector<std::string> said;
  std::ranges::copy_if(values, std::back_inserter(said), sayable);
  return Selector(std::make_shared<const Node>(leaf(Operator::kIn, label, std::move(said))));
}

}  // namespace ocicat
