/** Life of an access token, in seconds. */
export const ACCESS_TOKEN_SECONDS = 900;

/** How far the clocks of two nodes may be apart, in seconds. */
export const CLOCK_SKEW_SECONDS = 10;

/** Life of a refresh token since its last use, in days. */
export const REFRESH_TOKEN_DAYS = 30;
