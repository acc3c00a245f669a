// Selector text, cut into tokens. Private to selector/, but for its test.
//
//   source   Calico's selector language: blanks are space and tab; strings have no escapes; `has(`, `all(`
//            and `global(` are words only with the parenthesis adjacent; after a label only an operator may
//            come
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace ocicat {

enum class TokenKind : std::uint8_t {
  kEnd,
  kLabel,   // text: its name
  kString,  // text: between the quotes
  kHas,     // the whole of has(NAME); text: the name
  kAll,     // the whole of all()
  kGlobal,
  kEqual,
  kNotEqual,
  kIn,
  kNotIn,
  kContains,
  kStartsWith,
  kEndsWith,
  kAnd,
  kOr,
  kNot,
  kOpenParenthesis,
  kCloseParenthesis,
  kOpenBrace,
  kCloseBrace,
  kComma,
};

// As people write it: "==", "not in", "all()", "label", "end".
std::string_view to_string(TokenKind kind);

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string_view text;     // points into the selector text
  std::size_t position = 0;  // of its first character, from 0
};

// Longest label name there is.
inline constexpr std::size_t kMaxLabelName = 512;

// Hands out one token after another; after kEnd only kEnd. The text must outlive it.
class Tokenizer {
 public:
  explicit Tokenizer(std::string_view text) : text_(text) {}

  // After an error there is nothing more to be had.
  Result<Token> next();

 private:
  void skip_blanks();
  bool take(std::string_view symbol);     // moves past `symbol` if it comes next
  bool take_word(std::string_view word);  // the same, where no further name character follows
  std::string_view take_name();           // as many name characters as come; may be none
  Result<Token> operator_after_label();
  Result<Token> quoted();
  Result<Token> call_or_label();
  Result<Token> close_call(TokenKind kind, std::string_view word, std::string_view name);
  Token token(TokenKind kind, std::string_view text = {});

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;  // of the current token
  bool after_label_ = false;
};

}  // namespace ocicat
