// ADD.
#pragma once

#include <string>

#include "cni/attachment.h"
#include "cni/service/context.h"

namespace ocicat::cni {

// All of it or nothing: after a failure everything is taken back, or noted to be. Called again for an
// attachment that is there whole it answers as before.
Outcome<Attachment> add(Context& context, const Call& call, const std::string& namespace_path);

}  // namespace ocicat::cni
