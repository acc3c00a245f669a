// JSON as nearly all documents write it, read where it stands: no document is made of it.
//
//   plain    texts of printable ASCII without escapes, whole numbers of up to 18 digits, true and false; no null.
//            Whatever else comes may be JSON or not: a parser has to tell
//   cost     one pass over the text; no memory
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace ocicat {

// Each function reads what it is named after, and blanks before it. False: something else is there, or something that
// is not plain, or the text ends in it. Nothing is to be asked then any more.
class PlainJson {
 public:
  explicit PlainJson(std::string_view text) : text_(text) {}

  // Calls `member(name)` for each member, which reads its value, until one says false. Names may come twice.
  template <class Member>
  bool object(Member member) {
    if (!take('{')) return false;
    if (take('}')) return true;
    do {
      std::string_view name;
      if (!this->text(name) || !take(':') || !member(name)) return false;
    } while (take(','));
    return take('}');
  }
  // Likewise, `item()` for each item.
  template <class Item>
  bool array(Item item) {
    if (!take('[')) return false;
    if (take(']')) return true;
    do {
      if (!item()) return false;
    } while (take(','));
    return take(']');
  }
  // Part of the text that is read.
  bool text(std::string_view& value) {
    if (!take('"')) return false;
    const auto begin = at_;
    std::size_t odd = 0;
    while (text_.size() - at_ >= kWord && (odd = first_odd(&text_[at_])) == kWord) at_ += kWord;
    if (text_.size() - at_ >= kWord) at_ += odd;
    while (at_ < text_.size() && is_plain(text_[at_])) ++at_;
    value = text_.substr(begin, at_ - begin);
    return at_ < text_.size() && text_[at_++] == '"';
  }
  // Any value that is plain, in so many objects and lists at most.
  bool anything(int depth = 16) {
    skip_blanks();
    if (at_ == text_.size() || depth == 0) return false;
    std::string_view ignored;
    switch (text_[at_]) {
      case '"':
        return text(ignored);
      case '{':
        return object([&](std::string_view) { return anything(depth - 1); });
      case '[':
        return array([&] { return anything(depth - 1); });
      case 't':
        return word("true");
      case 'f':
        return word("false");
      default:
        return number();
    }
  }
  // How much has been read.
  std::size_t at() const { return at_; }

 private:
  static constexpr std::size_t kWord = 8;
  // Which of the next eight signs is the first that is not plain; 8: none is. What is taken away from a byte may
  // borrow from the next one, but not before there is one that is found.
  static std::size_t first_odd(const char* signs) {
    static_assert(std::endian::native == std::endian::little);
    constexpr std::uint64_t kOnes = 0x0101010101010101, kHighs = 0x80 * kOnes;
    std::uint64_t word = 0;
    std::memcpy(&word, signs, kWord);
    const auto zeros = [](std::uint64_t bytes) { return (bytes - kOnes) & ~bytes; };
    const auto odd = (zeros(word ^ '"' * kOnes) | zeros(word ^ '\\' * kOnes) | zeros(word ^ 0x7f * kOnes) |
                      ((word - ' ' * kOnes) & ~word) | word) &
                     kHighs;
    return static_cast<std::size_t>(std::countr_zero(odd)) / 8;
  }
  static bool is_plain(char sign) { return sign >= ' ' && sign < '\x7f' && sign != '"' && sign != '\\'; }
  static bool is_digit(char sign) { return sign >= '0' && sign <= '9'; }

  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || (text_[at_] >= '\t' && text_[at_] <= '\r' &&
                                                        text_[at_] != '\v' && text_[at_] != '\f')))
      ++at_;
  }
  bool take(char sign) {
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != sign) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  // The sign behind it is part of what is read next: where that is no comma or end, it is no JSON.
  bool number() {
    if (text_[at_] == '-') ++at_;
    const auto begin = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    const auto digits = at_ - begin;
    return digits > 0 && digits <= 18 && at_ < text_.size() && (digits == 1 || text_[begin] != '0');
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace ocicat
