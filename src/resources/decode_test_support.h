// For the tests of decode(): documents from text, and the values or errors they give.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include <string>
#include <utility>
#include <variant>

#include "resources/decode.h"

namespace ocicat {

inline Result<Resource> decode_text(Kind kind, const std::string& text) {
  return decode(kind, boost::json::parse(text).as_object());
}

template <class T>
T decoded(Kind kind, const std::string& text) {
  auto resource = decode_text(kind, text);
  if (!resource) {
    ADD_FAILURE() << resource.error().message;
    return {};
  }
  return std::get<T>(*std::move(resource));
}

inline std::string error_of(Kind kind, const std::string& text) {
  const auto resource = decode_text(kind, text);
  return resource ? "no error" : resource.error().message;
}

// A document named shop/x with this spec, or with these other fields.
inline std::string named(const std::string& rest) {
  return R"({"metadata": {"name": "x", "namespace": "shop"}, )" + rest + "}";
}
inline std::string with_spec(const std::string& fields) {
  return named(R"("spec": {)" + fields + "}");
}

inline Prefix prefix(std::string_view text) {
  return *Prefix::parse(text, true);
}

}  // namespace ocicat
