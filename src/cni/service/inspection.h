// CHECK and STATUS: look, and change nothing.
#pragma once

#include <string>

#include "cni/service/context.h"

namespace ocicat::cni {

// Code 3: there is no such attachment; 104: something of it is not as ADD left it.
Outcome<void> check(Context& context, const Call& call, const std::string& namespace_path);

// Code 50, and why: ADD would fail for any container of this network.
Outcome<void> status(Context& context, const Call& call);

}  // namespace ocicat::cni
