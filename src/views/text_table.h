// Columns of text, as kubectl prints them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ocicat::views {

// How many columns a terminal needs for UTF-8 text without wide characters.
std::size_t display_width(std::string_view text);

struct TextTable {
  std::vector<std::string> headers;
  std::vector<std::vector<std::string>> rows;  // may be shorter than headers, never longer

  // Columns three blanks apart, no blanks at the end of a line, "\n" after each. Control characters in cells
  // are shown as '?', so that nobody's label can steer the terminal.
  std::string to_string(bool with_headers = true) const;
};

// `text` safe to print on a terminal: control characters become '?'.
std::string printable(std::string_view text);

}  // namespace ocicat::views
