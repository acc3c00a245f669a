// Objects of one kind as rows: what `ocicat get` prints.
#pragma once

#include <boost/json/object.hpp>

#include <span>

#include "resources/kinds.h"
#include "views/json_read.h"
#include "views/text_table.h"

namespace ocicat::views {

struct TableStyle {
  bool wide = false;
  bool with_namespace = false;  // a NAMESPACE column first
  bool show_labels = false;     // a LABELS column last
};

std::vector<std::string> headers_for(Kind kind, const TableStyle& style);
std::vector<std::string> row_for(Kind kind, const boost::json::object& object, const TableStyle& style,
                                 TimePoint now);
TextTable table_for(Kind kind, std::span<const boost::json::object> objects, const TableStyle& style,
                    TimePoint now);

}  // namespace ocicat::views
