#include "resources/selector/tokenizer.h"

#include <array>
#include <string>
#include <tuple>
#include <utility>

namespace ocicat {
namespace {

constexpr bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '/' || c == '-';
}

constexpr std::array kSymbols{
    std::pair<std::string_view, TokenKind>{"&&", TokenKind::kAnd},
    std::pair<std::string_view, TokenKind>{"||", TokenKind::kOr},
    std::pair<std::string_view, TokenKind>{"!", TokenKind::kNot},
    std::pair<std::string_view, TokenKind>{"(", TokenKind::kOpenParenthesis},
    std::pair<std::string_view, TokenKind>{")", TokenKind::kCloseParenthesis},
    std::pair<std::string_view, TokenKind>{"{", TokenKind::kOpenBrace},
    std::pair<std::string_view, TokenKind>{"}", TokenKind::kCloseBrace},
    std::pair<std::string_view, TokenKind>{",", TokenKind::kComma},
};

// A character as an error message may show it.
std::string printable(char c) {
  if (c >= ' ' && c <= '~') return std::string(1, c);
  return fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
}

}  // namespace

std::string_view to_string(TokenKind kind) {
  switch (kind) {
    case TokenKind::kEnd:
      return "end";
    case TokenKind::kLabel:
      return "label";
    case TokenKind::kString:
      return "string";
    case TokenKind::kHas:
      return "has";
    case TokenKind::kAll:
      return "all()";
    case TokenKind::kGlobal:
      return "global()";
    case TokenKind::kEqual:
      return "==";
    case TokenKind::kNotEqual:
      return "!=";
    case TokenKind::kIn:
      return "in";
    case TokenKind::kNotIn:
      return "not in";
    case TokenKind::kContains:
      return "contains";
    case TokenKind::kStartsWith:
      return "starts with";
    case TokenKind::kEndsWith:
      return "ends with";
    case TokenKind::kAnd:
      return "&&";
    case TokenKind::kOr:
      return "||";
    case TokenKind::kNot:
      return "!";
    case TokenKind::kOpenParenthesis:
      return "(";
    case TokenKind::kCloseParenthesis:
      return ")";
    case TokenKind::kOpenBrace:
      return "{";
    case TokenKind::kCloseBrace:
      return "}";
    case TokenKind::kComma:
      return ",";
  }
  return "end";
}

Result<Token> Tokenizer::next() {
  skip_blanks();
  start_ = at_;
  if (at_ == text_.size()) {
    after_label_ = false;
    return token(TokenKind::kEnd);
  }
  if (std::exchange(after_label_, false)) return operator_after_label();
  if (is_name_character(text_[at_])) return call_or_label();
  if (text_[at_] == '"' || text_[at_] == '\'') return quoted();
  for (const auto& [symbol, kind] : kSymbols) {
    if (take(symbol)) return token(kind);
  }
  if (take("==")) return token(TokenKind::kEqual);
  return fail(ErrorCode::kInvalid, "position {}: unexpected character '{}'", start_, printable(text_[at_]));
}

void Tokenizer::skip_blanks() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
}

bool Tokenizer::take(std::string_view symbol) {
  if (!text_.substr(at_).starts_with(symbol)) return false;
  at_ += symbol.size();
  return true;
}

bool Tokenizer::take_word(std::string_view word) {
  const auto before = at_;
  if (take(word) && (at_ == text_.size() || !is_name_character(text_[at_]))) return true;
  at_ = before;
  return false;
}

std::string_view Tokenizer::take_name() {
  const auto begin = at_;
  while (at_ < text_.size() && is_name_character(text_[at_])) ++at_;
  return text_.substr(begin, at_ - begin);
}

Result<Token> Tokenizer::operator_after_label() {
  if (take("==")) return token(TokenKind::kEqual);
  if (take("!=")) return token(TokenKind::kNotEqual);
  if (take_word("in")) return token(TokenKind::kIn);
  if (take_word("contains")) return token(TokenKind::kContains);
  // Operators of two words, which may also be written as one.
  constexpr std::array kTwoWords{
      std::tuple<std::string_view, std::string_view, TokenKind>{"not", "in", TokenKind::kNotIn},
      std::tuple<std::string_view, std::string_view, TokenKind>{"starts", "with", TokenKind::kStartsWith},
      std::tuple<std::string_view, std::string_view, TokenKind>{"ends", "with", TokenKind::kEndsWith},
  };
  for (const auto& [first, second, kind] : kTwoWords) {
    if (!take(first)) continue;
    skip_blanks();
    if (take_word(second)) return token(kind);
    break;
  }
  return fail(
      ErrorCode::kInvalid,
      "position {}: expected an operator after the label: ==, !=, in, not in, contains, starts with or "
      "ends with",
      start_);
}

Result<Token> Tokenizer::quoted() {
  const auto quote = text_[at_];
  const auto end = text_.find(quote, at_ + 1);
  if (end == std::string_view::npos) {
    return fail(ErrorCode::kInvalid, "position {}: the string that begins here has no closing {}", start_,
                quote);
  }
  const auto content = text_.substr(at_ + 1, end - at_ - 1);
  at_ = end + 1;
  return token(TokenKind::kString, content);
}

Result<Token> Tokenizer::call_or_label() {
  const auto name = take_name();
  const bool called = at_ < text_.size() && text_[at_] == '(';
  if (called && (name == "has" || name == "all" || name == "global")) {
    ++at_;
    skip_blanks();
    if (name == "all") return close_call(TokenKind::kAll, name, {});
    if (name == "global") return close_call(TokenKind::kGlobal, name, {});
    const auto label = take_name();
    if (label.empty()) return fail(ErrorCode::kInvalid, "position {}: expected a label name in has(…)", at_);
    return close_call(TokenKind::kHas, name, label);
  }
  if (name.size() > kMaxLabelName) {
    return fail(ErrorCode::kInvalid, "position {}: a label name has at most {} characters", start_,
                kMaxLabelName);
  }
  after_label_ = true;
  return token(TokenKind::kLabel, name);
}

Result<Token> Tokenizer::close_call(TokenKind kind, std::string_view word, std::string_view name) {
  if (name.size() > kMaxLabelName) {
    return fail(ErrorCode::kInvalid, "position {}: a label name has at most {} characters", start_,
                kMaxLabelName);
  }
  skip_blanks();
  if (!take(")"))
    return fail(ErrorCode::kInvalid, "position {}: expected the closing parenthesis of {}(", at_, word);
  return token(kind, name);
}

Token Tokenizer::token(TokenKind kind, std::string_view text) {
  return {kind, text, start_};
}

}  // namespace ocicat
