#include "http/message.h"

#include <fmt/format.h>

#include <algorithm>

namespace ocicat::http {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (lower(c) >= 'a' && lower(c) <= 'f') return lower(c) - 'a' + 10;
  return -1;
}

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_blank) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      plain += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      plain += plus_is_blank && text[i] == '+' ? ' ' : text[i];
    }
  }
  return plain;
}

// Calls `take` for each piece between separators; stops and says false when it does.
template <class Take>
bool split(std::string_view text, char separator, Take take) {
  while (true) {
    const auto end = text.find(separator);
    if (!take(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::string_view find(const Headers& headers, std::string_view name) {
  for (const auto& header : headers) {
    if (std::ranges::equal(header.name, name, {}, lower, lower)) return header.value;
  }
  return {};
}

std::optional<Target> Target::parse(std::string_view text) {
  if (!text.starts_with('/')) return std::nullopt;
  text = text.substr(0, text.find('#'));
  Target target;
  const auto question = text.find('?');
  target.path = text.substr(0, question);

  const bool path_ok = split(std::string_view(target.path).substr(1), '/', [&](std::string_view piece) {
    auto segment = percent_decode(piece, false);
    if (!segment) return false;
    target.segments.push_back(*std::move(segment));
    return true;
  });
  if (!path_ok) return std::nullopt;
  if (target.segments.back().empty()) target.segments.pop_back();  // "/apis/" is "/apis"

  if (question == std::string_view::npos) return target;
  const bool query_ok = split(text.substr(question + 1), '&', [&](std::string_view piece) {
    if (piece.empty()) return true;
    const auto equals = piece.find('=');
    auto name = percent_decode(piece.substr(0, equals), true);
    auto value =
        equals == std::string_view::npos ? std::string() : percent_decode(piece.substr(equals + 1), true);
    if (!name || !value) return false;
    target.query.emplace_back(*std::move(name), *std::move(value));
    return true;
  });
  if (!query_ok) return std::nullopt;
  return target;
}

std::string_view Target::parameter(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return {};
}

std::string percent_encode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                            c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

}  // namespace ocicat::http
