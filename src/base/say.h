// What a command says to whoever called it.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <utility>

namespace ocicat {

// To stdout. Never throws: what cannot be written, as on a full disk, stays in the stream's error flag, which
// the command line looks at when a command ends.
template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  const std::string text = fmt::format(format, std::forward<Args>(args)...);
  std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace ocicat
