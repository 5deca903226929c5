#pragma once

namespace weir {

/// The one gRPC method of the data plane: a bidirectional stream of frames (frame.h).
inline constexpr char kExchangeMethod[] = "/weir.Exchange/Stream";

}  // namespace weir
