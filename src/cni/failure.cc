#include "cni/failure.h"

#include <boost/json.hpp>

#include "cni/version.h"

namespace ocicat::cni {

std::string to_json(const Failure& failure, std::string_view version) {
  return boost::json::serialize(
      boost::json::object{{"cniVersion", version.empty() ? to_string(kVersions.back()) : version},
                          {"code", static_cast<unsigned>(failure.code)},
                          {"msg", failure.message},
                          {"details", failure.details}});
}

}  // namespace ocicat::cni
