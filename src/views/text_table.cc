#include "views/text_table.h"

#include <algorithm>

namespace ocicat::views {
namespace {

constexpr std::size_t kGap = 3;

void append_line(std::string& out, const std::vector<std::string>& cells,
                 const std::vector<std::size_t>& widths) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string cell = printable(cells[i]);
    line += cell;
    if (i + 1 < cells.size()) line.append(widths[i] - display_width(cell) + kGap, ' ');
  }
  line.erase(line.find_last_not_of(' ') + 1);
  out += line;
  out += '\n';
}

}  // namespace

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string printable(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = '?';
  }
  return result;
}

std::string TextTable::to_string(bool with_headers) const {
  std::vector<std::size_t> widths(headers.size(), 0);
  const auto widen = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i)
      widths[i] = std::max(widths[i], display_width(printable(cells[i])));
  };
  if (with_headers) widen(headers);
  for (const auto& row : rows) widen(row);

  std::string out;
  if (with_headers) append_line(out, headers, widths);
  for (const auto& row : rows) append_line(out, row, widths);
  return out;
}

}  // namespace ocicat::views
