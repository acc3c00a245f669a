// What the server says of itself: enough for kubectl to find its way.
#pragma once

#include <boost/json/object.hpp>

#include <optional>
#include <string_view>

namespace ocicat::api {

boost::json::object api_versions();                                    // GET /api
boost::json::object api_groups();                                      // GET /apis
std::optional<boost::json::object> api_group(std::string_view group);  // GET /apis/GROUP
// GET /api/v1 (group "") and /apis/GROUP/VERSION.
std::optional<boost::json::object> api_resources(std::string_view group, std::string_view version);
boost::json::object version_info();  // GET /version

}  // namespace ocicat::api
