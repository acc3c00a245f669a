// Selector::parse(): recursive descent, as deep as kMaxDepth and no deeper.
#include <algorithm>
#include <utility>

#include "resources/selector/node.h"
#include "resources/selector/tokenizer.h"

namespace ocicat {
namespace {

// What was found, as an error message may show it.
std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "the end";
    case TokenKind::kLabel:
      return fmt::format("label {}", token.text);
    case TokenKind::kHas:
      return fmt::format("has({})", token.text);
    case TokenKind::kString:
      return fmt::format("string '{}'", token.text);
    default:
      return fmt::format("'{}'", to_string(token.kind));
  }
}

std::unexpected<Error> unexpected_token(const Token& token, std::string_view expected) {
  return fail(ErrorCode::kInvalid, "position {}: expected {}, found {}", token.position, expected,
              describe(token));
}

struct Operand {
  Terms terms;
  std::size_t depth = 0;  // of groups
};

class Parser {
 public:
  // Without `build` the terms come back empty: only the text is checked, and nothing allocated.
  Parser(std::string_view text, bool build) : tokens_(text), build_(build) {}

  Result<Terms> selector() {
    TRY_VOID(advance());
    if (token_.kind == TokenKind::kEnd) return built(Operator::kAll).terms;
    TRY(auto whole, disjunction());
    if (token_.kind != TokenKind::kEnd) return unexpected_token(token_, "&&, || or the end");
    return std::move(whole.terms);
  }

 private:
  Result<Operand> disjunction() { return group(Operator::kOr, TokenKind::kOr, &Parser::conjunction); }
  Result<Operand> conjunction() { return group(Operator::kAnd, TokenKind::kAnd, &Parser::operation); }

  // Operands with a separator between them; just the operand where there is one.
  Result<Operand> group(Operator op, TokenKind separator, Result<Operand> (Parser::*parse)()) {
    const auto position = token_.position;
    TRY(auto first, (this->*parse)());
    if (token_.kind != separator) return first;
    auto depth = first.depth;
    std::vector<Terms> operands;
    if (build_) operands.push_back(std::move(first.terms));
    while (token_.kind == separator) {
      TRY_VOID(advance());
      TRY(auto operand, (this->*parse)());
      depth = std::max(depth, operand.depth);
      if (build_) operands.push_back(std::move(operand.terms));
    }
    if (++depth > kMaxDepth) return too_deep(position);
    return Operand{build_ ? grouped(op, std::move(operands)) : Terms(), depth};
  }

  Result<Operand> operation() {
    bool negate = false;
    while (token_.kind == TokenKind::kNot) {
      negate = !negate;
      TRY_VOID(advance());
    }
    TRY(auto operand, positive_operation());
    if (negate && build_) operand.terms = negated(std::move(operand.terms));
    return operand;
  }

  Result<Operand> positive_operation() {
    const auto token = token_;
    TRY_VOID(advance());
    switch (token.kind) {
      case TokenKind::kAll:
        return built(Operator::kAll);
      case TokenKind::kGlobal:
        return built(Operator::kGlobal);
      case TokenKind::kHas:
        return built(Operator::kHas, token.text);
      case TokenKind::kLabel:
        return comparison(token.text);
      case TokenKind::kOpenParenthesis:
        return parenthesised(token.position);
      default:
        return unexpected_token(token, "a label, has(…), all(), ! or (");
    }
  }

  Result<Operand> parenthesised(std::size_t position) {
    if (++open_ > kMaxDepth) return too_deep(position);
    TRY(auto inner, disjunction());
    if (token_.kind != TokenKind::kCloseParenthesis) return unexpected_token(token_, "&&, || or )");
    --open_;
    TRY_VOID(advance());
    return inner;
  }

  Result<Operand> comparison(std::string_view label) {
    const auto kind = token_.kind;
    TRY_VOID(advance());
    switch (kind) {
      case TokenKind::kEqual:
        return with_string(Operator::kEqual, label);
      case TokenKind::kNotEqual:
        return with_string(Operator::kNotEqual, label);
      case TokenKind::kContains:
        return with_string(Operator::kContains, label);
      case TokenKind::kStartsWith:
        return with_string(Operator::kStartsWith, label);
      case TokenKind::kEndsWith:
        return with_string(Operator::kEndsWith, label);
      case TokenKind::kIn:
        return with_set(Operator::kIn, label);
      case TokenKind::kNotIn:
        return with_set(Operator::kNotIn, label);
      default:
        return fail(ErrorCode::kInvalid, "position {}: expected an operator after label {}", token_.position,
                    label);
    }
  }

  Result<Operand> with_string(Operator op, std::string_view label) {
    if (token_.kind != TokenKind::kString) return unexpected_token(token_, "a string in quotes");
    const auto value = token_.text;
    TRY_VOID(advance());
    return built(op, label, {&value, 1});
  }

  // A set may be empty, and may end with a comma.
  Result<Operand> with_set(Operator op, std::string_view label) {
    if (token_.kind != TokenKind::kOpenBrace) return unexpected_token(token_, "a set in braces");
    std::vector<std::string_view> values;
    bool any = false;
    TRY_VOID(advance());
    while (token_.kind == TokenKind::kString) {
      if (build_) values.push_back(token_.text);
      any = true;
      TRY_VOID(advance());
      if (token_.kind != TokenKind::kComma) break;
      TRY_VOID(advance());
    }
    if (token_.kind != TokenKind::kCloseBrace) {
      return unexpected_token(token_, !any ? "a string in quotes or }" : "a comma or }");
    }
    TRY_VOID(advance());
    return built(op, label, values);
  }

  Operand built(Operator op, std::string_view label = {},
                std::span<const std::string_view> values = {}) const {
    if (!build_) return {};
    return {leaf(op, label, std::vector<std::string>(values.begin(), values.end()))};
  }

  std::unexpected<Error> too_deep(std::size_t position) {
    return fail(ErrorCode::kInvalid, "position {}: nested more than {} deep", position, kMaxDepth);
  }

  Result<void> advance() {
    TRY(token_, tokens_.next());
    return {};
  }

  Tokenizer tokens_;
  Token token_;
  bool build_;
  std::size_t open_ = 0;  // parentheses
};

}  // namespace

Result<Selector> Selector::parse(std::string_view text) {
  TRY(auto terms, Parser(text, true).selector());
  return Selector(std::make_shared<const Node>(std::move(terms)));
}

Result<void> Selector::check(std::string_view text) {
  if (auto checked = Parser(text, false).selector(); !checked)
    return std::unexpected(std::move(checked).error());
  return {};
}

}  // namespace ocicat
